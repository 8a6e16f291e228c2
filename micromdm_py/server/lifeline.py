"""Child processes that do not outlive their parent."""

import ctypes
import os
import signal
import sys

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends, for whatever reason.

    Exits at once if the parent is already gone. On other systems than Linux, the caller's own check of the
    parent has to do.

    Args:
        parent_pid: the process that forked this one; it must have done so from its main thread, since the
            kernel watches the thread that forked.
    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
