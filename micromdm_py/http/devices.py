"""/v1/devices: listing, removing, blocking."""

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.devices import Devices

__all__ = ["BlockResource", "DevicesResource", "UnblockResource"]


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
