"""``python -m micromdm_py.cli.mdmctl``."""

from micromdm_py.cli.mdmctl.main import run

if __name__ == "__main__":
    run()
