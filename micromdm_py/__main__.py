"""``python -m micromdm_py`` is the ``micromdm`` program."""

from micromdm_py.cli.main import run

run()
