#!/bin/sh
# Queue two commands for a device with curl, one given as JSON and one as a property list: queue_command.sh UDID
#
#   export SERVER_URL=https://mdm.example.com API_TOKEN=...
set -eu
: "${SERVER_URL:?set SERVER_URL to the address of the server}"
: "${API_TOKEN:?set API_TOKEN to the API key of the server}"
udid=${1:?usage: queue_command.sh UDID}

curl --silent --show-error --fail-with-body --user "micromdm:$API_TOKEN" \
    --data '{"udid": "'"$udid"'", "request_type": "SecurityInfo"}' \
    "$SERVER_URL/v1/commands"

# "micromdm command ProfileList" writes such a property list for any command Apple documents.
curl --silent --show-error --fail-with-body --user "micromdm:$API_TOKEN" \
    --data-binary @- "$SERVER_URL/v1/commands/$udid" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>CommandUUID</key>
    <string>profile-list-$(date +%s)</string>
    <key>Command</key>
    <dict>
        <key>RequestType</key>
        <string>ProfileList</string>
    </dict>
</dict>
</plist>
PLIST
