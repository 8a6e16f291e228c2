"""Receive the webhook events of micromdm and print one line for each (needs Flask).

    pip install flask
    python examples/webhook_receiver.py
    micromdm serve ... -command-webhook-url http://127.0.0.1:5000/webhook

PORT is where it listens (5000). With WEBHOOK_HMAC_KEY set to the server's -webhook-hmac-key, events that
are not signed with that key are refused.
"""

import base64
import hashlib
import hmac
import json
import os
import plistlib

from flask import Flask, abort, request

KEY = os.environ.get("WEBHOOK_HMAC_KEY", "").encode()

app = Flask(__name__)


def is_signed(body, signature):
    """Whether the signature is the one of these bytes; compare before anything is parsed."""
    expected = base64.b64encode(hmac.digest(KEY, body, hashlib.sha256))
    return hmac.compare_digest(expected, signature.encode())


@app.post("/webhook")
def webhook():
    body = request.get_data()
    if KEY and not is_signed(body, request.headers.get("X-Hmac-Signature", "")):
        abort(403)
    event = json.loads(body)
    # Exactly one of these is there, whichever the topic has.
    inside = event.get("acknowledge_event") or event.get("checkin_event") or event.get("server_event") or {}
    device = inside.get("udid") or inside.get("enrollment_id", "")
    print(event["topic"], device, inside.get("status", ""), inside.get("command_uuid", ""), flush=True)
    if "raw_payload" in inside:
        # What the device sent, byte for byte: an XML or binary property list.
        message = plistlib.loads(base64.b64decode(inside["raw_payload"]))
        for name, value in message.items():
            print(f"  {name} = {value!r}", flush=True)
    # Any 2xx takes the event. The same event may come again (after a crash of the server, or when this answer
    # got lost), so code that must not act twice remembers event["event_id"].
    return ""


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
