"""``micromdm``: finds the command named by the first word.

Imports nothing that help and version can do without.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["COMMANDS", "load_command", "main", "run"]

COMMANDS = {
    "serve": "run the MDM server",
    "demo": "show the server at work with simulated devices",
    "simulate": "run simulated devices against a server",
    "depsim": "play Apple's device assignment service",
    "command": "write a command as a property list, for the raw command API",
    "import-micromdm": "take over the database of a MicroMDM server",
    "import-nanomdm": "take over the filekv storage of a NanoMDM server",
    "export-micromdm": "write the store as a database that MicroMDM opens",
    "doctor": "say where a move from MicroMDM stands, and what to do next",
    "export-nanomdm": "send the enrollments to a NanoMDM server",
    "backup": "write a copy of the store into a file, also while the server runs",
    "restore": "put such a copy in the place of the store",
    "tokens": "make, list and revoke tokens for callers of the admin API",
    "audit": "show what callers of the admin API have changed",
    "version": "print the version",
}
_HELP = {"help", "-h", "-help", "--help"}
_VERSION = {"version", "-version", "--version"}


def usage() -> str:
    """What ``micromdm`` alone prints."""
    width = max(map(len, COMMANDS))
    lines = [f"    {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "USAGE: micromdm <COMMAND>",
            "",
            "Available Commands:",
            *lines,
            "",
            "micromdm <COMMAND> -h lists the flags of a command.",
            "Example: micromdm serve -h",
        ]
    )


def load_command(name: str) -> "click.Command":
    """Import ``cli/<name>.py``, which holds the click command of that name; dashes are underscores there."""
    name = name.replace("-", "_")
    command: click.Command = getattr(importlib.import_module(f"micromdm_py.cli.{name}"), name)
    return command


def main(words: list[str]) -> int:
    """Run the command that the words name.

    Args:
        words: the command line without the program's name.
    Returns: the exit status; click commands leave by SystemExit.
    """
    name = words[0].lower() if words else ""
    if name in _VERSION:
        from micromdm_py.cli.version import print_version  # only here: see the module's docstring

        return print_version()
    if name not in COMMANDS:
        if name and name not in _HELP:
            print(f"no such command: {words[0]}", file=sys.stderr)
        print(usage())
        return 0 if name in _HELP else 1
    load_command(name).main(args=words[1:], prog_name=f"micromdm {name}")


def run() -> None:
    """Entry point of the ``micromdm`` program."""
    sys.exit(main(sys.argv[1:]))
