"""Queue two commands for a device, one given as JSON and one as a property list (needs httpx).

    export SERVER_URL=https://mdm.example.com API_TOKEN=...
    python examples/queue_command.py UDID

The values are those of the server: its address, and its -api-key.
"""

import os
import plistlib
import sys
import uuid

import httpx


def queue_json(api, udid):
    """Give the fields of the command as JSON; the server writes the property list."""
    command = {
        "udid": udid,
        "request_type": "DeviceInformation",
        "queries": ["DeviceName", "OSVersion", "SerialNumber"],
    }
    # With an Idempotency-Key the call may be repeated after a lost answer without queueing twice.
    answer = api.post("/v1/commands", json=command, headers={"Idempotency-Key": str(uuid.uuid4())})
    answer.raise_for_status()
    return answer.json()["payload"]["command_uuid"]


def queue_raw(api, udid):
    """Give the property list itself; the device gets exactly these bytes."""
    command = {"CommandUUID": str(uuid.uuid4()), "Command": {"RequestType": "ProfileList"}}
    answer = api.post(f"/v1/commands/{udid}", content=plistlib.dumps(command))
    answer.raise_for_status()
    return answer.json()["payload"]["command_uuid"]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: queue_command.py UDID")
    udid = sys.argv[1]
    auth = ("micromdm", os.environ["API_TOKEN"])
    with httpx.Client(base_url=os.environ["SERVER_URL"], auth=auth) as api:
        print("queued", queue_json(api, udid))
        print("queued", queue_raw(api, udid))
        waiting = api.get(f"/v1/commands/{udid}").raise_for_status().json()
        print(len(waiting["commands"]), "waiting")


if __name__ == "__main__":
    main()
