"""Commands: from JSON to a property list by Apple's schema and MicroMDM's names, and raw property lists."""

from micromdm_py.protocol.commands.convert import OPTIONS, NewCommand, convert_fields, convert_json
from micromdm_py.protocol.commands.raw import RawCommand, read_raw

__all__ = ["OPTIONS", "NewCommand", "RawCommand", "convert_fields", "convert_json", "read_raw"]
