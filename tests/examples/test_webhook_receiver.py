"""The webhook receiver of ``examples/`` with real events of a real server."""

import asyncio
import base64
import hashlib
import hmac
import sys
from pathlib import Path

import httpx
import pytest

from tests.examples.running import EXAMPLES, Program, Server, enrol, running, serving

RECEIVER = (sys.executable, EXAMPLES / "webhook_receiver.py")
KEY = "key of the events"


def url_of(receiver: Program) -> str:
    return receiver.expect(r"Running on (http://127\.0\.0\.1:\d+)")[1] + "/webhook"


@pytest.mark.parametrize("key", ["", KEY])
def test_events_of_an_enrollment_and_a_connect_are_printed(tmp_path: Path, key: str) -> None:
    with running(*RECEIVER, PORT="0", WEBHOOK_HMAC_KEY=key) as receiver:
        flags = ["-command-webhook-url", url_of(receiver), "-webhook-hmac-key", key]
        with serving(tmp_path / "store", *flags) as server:
            udid = asyncio.run(enrol_and_connect(server))
            receiver.expect(rf"^mdm\.Authenticate {udid} ")
            receiver.expect("^  SerialNumber = ")
            receiver.expect(rf"^mdm\.TokenUpdate {udid} ")
            receiver.expect(rf"^mdm\.Connect {udid} Idle ")


async def enrol_and_connect(server: Server) -> str:
    async with server.devices() as http:
        device, _ = await enrol(server, http)
        await device.report({"Status": "Idle"})
    return device.facts.udid


def test_event_with_another_signature_is_refused() -> None:
    body = b'{"topic": "mdm.CheckOut", "event_id": "1", "checkin_event": {"udid": "A"}}'
    good = base64.b64encode(hmac.digest(KEY.encode(), body, hashlib.sha256)).decode()
    with running(*RECEIVER, PORT="0", WEBHOOK_HMAC_KEY=KEY) as receiver:
        url = url_of(receiver)
        with httpx.Client(trust_env=False) as http:
            for signature, status in (("", 403), ("ü", 403), (good[::-1], 403), (good, 200)):
                headers = {b"X-Hmac-Signature": signature.encode()} if signature else {}
                assert http.post(url, content=body, headers=headers).status_code == status
        receiver.expect("^mdm.CheckOut A ")
