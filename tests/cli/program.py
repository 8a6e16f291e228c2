"""The real program in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def micromdm(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``micromdm`` to its end; nothing is read from stdin."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "micromdm_py", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
