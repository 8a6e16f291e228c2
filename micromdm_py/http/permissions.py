"""Which permission each route of the admin API asks for, in one table that can be read in a minute."""

from collections.abc import Mapping

from micromdm_py.service.access import CREATE

__all__ = ["CANCEL", "DEVICES", "KNOWN", "OTHER", "PERMISSIONS", "READING", "SECRETS", "permission_of"]

OTHER = "server.other"
"""What a route asks for that the table does not name: only callers with every permission pass."""
SECRETS = "mdm.apple.command.secrets"
"""See passwords, keys and tokens in commands and answers; no route asks for it."""
READING = (".get", ".list")
"""How permissions end that change nothing; their use is not in the audit log."""

GET, LIST, CANCEL = "mdm.apple.command.get", "mdm.apple.command.list", "mdm.apple.command.cancel"
DEVICES = "mdm.apple.device.list"
PROFILE_SET, BLUEPRINT_SET = "mdm.apple.profile.set", "mdm.apple.blueprint.set"
USER_SET = "mdm.apple.user.set"
PUSH = "mdm.apple.device.push"
_TYPE = "/v1/organizations/{organizationId:segment}/mdm/apple/enterprise/commands/{targetType:segment}"

PERMISSIONS: Mapping[str, Mapping[str, str]] = {
    "/v1/bulk/commands": {"POST": CREATE},
    "/v1/commands": {"POST": CREATE, "DELETE": CANCEL},
    "/v1/commands/{udid:segment}": {"GET": LIST, "POST": CREATE, "PUT": CREATE, "DELETE": CANCEL},
    "/v1/commands/{udid:segment}/{command:segment}": {"GET": GET, "DELETE": CANCEL},
    _TYPE: {"POST": CREATE},
    f"{_TYPE}/{{targetId:segment}}": {"GET": LIST, "POST": CREATE},
    f"{_TYPE}/{{targetId:segment}}/grouped": {"GET": LIST},
    f"{_TYPE}/{{targetId:segment}}/{{admCommandId:segment}}": {"GET": GET},
    f"{_TYPE}/{{targetId:segment}}/{{admCommandId:segment}}/cancel": {"POST": CANCEL},
    "/v1/devices/{udid:segment}/commands": {"GET": LIST},
    "/v1/devices/{udid:segment}": {"GET": "mdm.apple.device.get"},
    "/v1/devices/{udid:segment}/why": {"GET": "mdm.apple.device.get"},
    "/v1/devices/{udid:segment}/inventory": {"GET": "mdm.apple.device.get"},
    "/v1/devices/search": {"GET": DEVICES},
    "/v1/devices": {"POST": DEVICES, "DELETE": "mdm.apple.device.remove"},
    "/v1/devices/{udid:segment}/block": {"POST": "mdm.apple.device.block"},
    "/v1/devices/{udid:segment}/unblock": {"POST": "mdm.apple.device.unblock"},
    "/v1/push/{udid:segment}": {"POST": PUSH},
    "/push/{udid:segment}": {"GET": PUSH},
    "/v1/config/certificate": {"GET": "server.config.get", "PUT": "server.config.set"},
    "/v1/config/certificates": {"GET": "server.config.get"},
    "/v1/dep-tokens": {
        "GET": "server.dep.token.show",  # with the secrets, so this is no mere reading
        "PUT": "server.dep.token.set",
        "DELETE": "server.dep.token.remove",
    },
    "/v1/dep/profiles": {
        "PUT": "mdm.apple.dep.profile.define",
        "POST": "mdm.apple.dep.profile.get",
        "DELETE": "mdm.apple.dep.profile.assign",
    },
    "/v1/dep/assign": {"POST": "mdm.apple.dep.profile.assign"},
    "/v1/dep/devices": {"POST": "mdm.apple.dep.device.list"},
    "/v1/dep/devices/{serial:segment}": {"GET": "mdm.apple.dep.device.get"},
    "/v1/dep/account": {"GET": "mdm.apple.dep.account.get"},
    "/v1/dep/syncnow": {"POST": "mdm.apple.dep.sync"},
    "/v1/dep/autoassigners": {
        "GET": "mdm.apple.dep.autoassigner.list",
        "POST": "mdm.apple.dep.autoassigner.set",
        "DELETE": "mdm.apple.dep.autoassigner.remove",
    },
    "/v1/dep/status": {"GET": "mdm.apple.dep.status.get"},
    "/v1/challenge": {"POST": "mdm.apple.enrollment.challenge"},
    "/v1/profiles": {"POST": "mdm.apple.profile.list", "PUT": PROFILE_SET, "DELETE": PROFILE_SET},
    "/v1/blueprints": {"POST": "mdm.apple.blueprint.list", "PUT": BLUEPRINT_SET, "DELETE": BLUEPRINT_SET},
    "/v1/blueprints/{name:segment}/apply": {"POST": "mdm.apple.blueprint.apply"},
    "/v1/users": {"POST": "mdm.apple.user.list", "PUT": USER_SET, "DELETE": USER_SET},
    "/nano/v1/enqueue/{ids:segment}": {"PUT": CREATE, "POST": CREATE},
    "/nano/v1/push/{ids:segment}": {"GET": PUSH, "PUT": PUSH, "POST": PUSH},
    "/nano/v1/pushcert": {"GET": "server.config.get", "PUT": "server.config.set"},
    "/nano/migration": {"PUT": "mdm.apple.enrollment.move", "POST": "mdm.apple.enrollment.move"},
    "/nano/v1/escrowkeyunlock": {"POST": "mdm.apple.device.unlock"},
    "/boltbackup": {"GET": "server.backup.make"},  # with every secret there is, so this is no mere reading
    "/v1/apps": {"POST": "mdm.apple.app.list", "PUT": "mdm.apple.app.set"},
    "/v1/tokens": {"GET": "server.token.list", "POST": "server.token.create"},
    "/v1/tokens/{name:segment}": {"DELETE": "server.token.revoke"},
    "/v1/events": {"GET": "mdm.event.get"},
    "/v1/webhooks": {"GET": "server.webhook.list"},
    "/v1/webhooks/test": {"POST": "server.webhook.test"},
    "/v1/webhooks/{id:segment}/replay": {"POST": "server.webhook.replay"},
    "/v1/webhooks/{id:segment}/dead-letters": {"GET": "mdm.event.get"},
    "/v1/quarantine": {"GET": "mdm.event.get"},
    "/v1/audit": {"GET": "server.audit.get"},
}
"""By route, as the router knows it, and method."""

KNOWN = frozenset(name for methods in PERMISSIONS.values() for name in methods.values()) | {SECRETS}
"""Every permission there is."""


def permission_of(route: str | None, method: str) -> str:
    """The permission a request needs; methods that a route does not have need none of their own."""
    return PERMISSIONS.get(route or "", {}).get(method, OTHER)
