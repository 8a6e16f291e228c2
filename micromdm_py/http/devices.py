"""/v1/devices: searching, listing, removing, blocking; one device and its inventory."""

from functools import partial

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import ANY, TIME, describe, note
from micromdm_py.http.reply import flag, query_number, query_value, reply
from micromdm_py.service.devices import Devices
from micromdm_py.service.inventory import Inventory, parse_search
from micromdm_py.service.why import Why

__all__ = [
    "BlockResource",
    "DeviceSearchResource",
    "DevicesResource",
    "InventoryResource",
    "KnownDeviceResource",
    "UnblockResource",
    "WhyResource",
]

MAX_LIMIT = 1000

SEARCHED = ("serial_number", "device_name", "model", "model_name", "product_name", "os_version")
DEVICE = {
    "serial_number": str,
    "udid": str,
    "enrollment_status": note(bool, "true from the first TokenUpdate to CheckOut or the next Authenticate"),
    "last_seen": TIME,
    "dep_profile_status": str,
}
FACTS = note({"udid": str, **dict.fromkeys(SEARCHED, str)}, "With everything else that is known.")
UNKNOWN = {404: "The enrollment is unknown.", 409: "The UserID is ambiguous; the text names the choices."}


class DevicesResource:
    """POST lists, DELETE removes."""

    needs_api_key = True

    def __init__(self, devices: Devices, max_body_bytes: int) -> None:
        """Work with `devices`."""
        self._devices, self._max = devices, max_body_bytes

    @describe(
        takes=note(
            {"filter_serial": [str], "filter_udid": [str], "page": int, "per_page": int},
            "All optional; a device must match each list. per_page 0 means all.",
        ),
        gives={"devices": [DEVICE]},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the devices that match."""
        reply(resp, self._devices.list(read_body(req, self._max)))

    @describe(
        takes=note({"udids": [str], "serials": [str]}, "Also inside opts."),
        gives={},
        query={"purge": note(bool, "also withdraw the queue and delete push data, binding and block mark")},
        answers={404: "An id is unknown; nothing was removed."},
    )
    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove device records."""
        reply(
            resp,
            self._devices.remove(
                read_body(req, self._max), purge=flag(req, "purge"), tell=partial(audit_note, req)
            ),
        )


class DeviceSearchResource:
    """GET /v1/devices/search."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Search in `inventory`."""
        self._inventory = inventory

    @describe(
        gives={"devices": [FACTS], "next": note(str, "cursor of the next page, if there is one")},
        query={
            **dict.fromkeys(SEARCHED, note(str, "how it begins; letter case does not matter")),
            "state": note(str, "enrolled, unenrolled or blocked"),
            "seen_before": TIME,
            "seen_after": TIME,
            "limit": note(int, "100; at most 1000"),
            "cursor": note(str, "next of the page before"),
        },
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search devices."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=100)
        reply(resp, self._inventory.search(parse_search(partial(query_value, req), limit)))


class KnownDeviceResource:
    """GET /v1/devices/{udid}."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Read from `inventory`."""
        self._inventory = inventory

    @describe(gives={"device": FACTS}, answers=UNKNOWN)
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Show what is known of one enrollment."""
        reply(resp, self._inventory.device(udid))


class InventoryResource:
    """GET /v1/devices/{udid}/inventory."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Read from `inventory`."""
        self._inventory = inventory

    @describe(
        gives={"inventory": {str: {"at": TIME, "data": ANY}}},
        answers=UNKNOWN,
        about="By request type. Passwords and keys are masked.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Show the last answers that tell what a device is like."""
        reply(resp, self._inventory.answers(udid))


class WhyResource:
    """GET /v1/devices/{udid}/why."""

    needs_api_key = True

    def __init__(self, why: Why) -> None:
        """Ask `why`."""
        self._why = why

    @describe(gives={"udid": str, "summary": str, "advice": [str], "facts": {str: ANY}}, answers=UNKNOWN)
    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Say what is the matter with a device, and what to do."""
        reply(resp, self._why(udid))


class BlockResource:
    """POST /v1/devices/{udid}/block."""

    needs_api_key = True

    def __init__(self, devices: Devices) -> None:
        """Work with `devices`."""
        self._devices = devices

    @describe(
        gives={},
        about="The next connect is answered with 401, upon which the device drops its enrollment."
        " The id need not be known. No push is sent.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Refuse the connects of a device."""
        reply(resp, self._devices.block(udid))


class UnblockResource:
    """POST /v1/devices/{udid}/unblock."""

    needs_api_key = True

    def __init__(self, devices: Devices) -> None:
        """Work with `devices`."""
        self._devices = devices

    @describe(gives={}, answers={404: "It is not blocked."})
    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Lift a block."""
        reply(resp, self._devices.unblock(udid))
