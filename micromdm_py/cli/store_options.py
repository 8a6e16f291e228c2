"""The flag that commands on a server's store share."""

from micromdm_py.cli.go_flags import go_option
from micromdm_py.config import Config

__all__ = ["config_path_option"]

config_path_option = go_option(
    "config-path", Config().config_path, "folder of the server's state", env="MICROMDM_CONFIG_PATH"
)
"""Adds ``-config-path``."""
