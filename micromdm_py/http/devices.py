"""/v1/devices: searching, listing, removing, blocking; one device and its inventory."""

from functools import partial

import falcon

from micromdm_py.http.body import read_body
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


class DevicesResource:
    """POST lists, DELETE removes."""

    needs_api_key = True

    def __init__(self, devices: Devices, max_body_bytes: int) -> None:
        """Work with `devices`."""
        self._devices, self._max = devices, max_body_bytes

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the devices that match."""
        reply(resp, self._devices.list(read_body(req, self._max)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Remove device records."""
        reply(resp, self._devices.remove(read_body(req, self._max), purge=flag(req, "purge")))


class DeviceSearchResource:
    """GET /v1/devices/search."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Search in `inventory`."""
        self._inventory = inventory

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of the devices that fit the query."""
        limit = query_number(req, "limit", 1, MAX_LIMIT, default=100)
        reply(resp, self._inventory.search(parse_search(partial(query_value, req), limit)))


class KnownDeviceResource:
    """GET /v1/devices/{udid}."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Read from `inventory`."""
        self._inventory = inventory

    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """What is known of one enrollment."""
        reply(resp, self._inventory.device(udid))


class InventoryResource:
    """GET /v1/devices/{udid}/inventory."""

    needs_api_key = True

    def __init__(self, inventory: Inventory) -> None:
        """Read from `inventory`."""
        self._inventory = inventory

    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """The last answers that tell what a device is like."""
        reply(resp, self._inventory.answers(udid))


class WhyResource:
    """GET /v1/devices/{udid}/why."""

    needs_api_key = True

    def __init__(self, why: Why) -> None:
        """Ask `why`."""
        self._why = why

    def on_get(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """What is the matter with a device, and what to do."""
        reply(resp, self._why(udid))


class BlockResource:
    """POST /v1/devices/{udid}/block."""

    needs_api_key = True

    def __init__(self, devices: Devices) -> None:
        """Work with `devices`."""
        self._devices = devices

    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Refuse the connects of a device."""
        reply(resp, self._devices.block(udid))


class UnblockResource:
    """POST /v1/devices/{udid}/unblock."""

    needs_api_key = True

    def __init__(self, devices: Devices) -> None:
        """Work with `devices`."""
        self._devices = devices

    def on_post(self, req: falcon.Request, resp: falcon.Response, udid: str) -> None:
        """Lift a block."""
        reply(resp, self._devices.unblock(udid))
