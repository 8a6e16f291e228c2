"""Putting automated enrollment together, for web workers and for the courier."""

import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric import rsa

from micromdm_py import lead
from micromdm_py.http.dep import Dep
from micromdm_py.net.dep import DepClient, DepSessions
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.first_sync import FirstSync
from micromdm_py.service.dep.proxy import DepProxy
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.rules import DepRules
from micromdm_py.service.dep.tokens import DepTokens
from micromdm_py.service.devices import Devices
from micromdm_py.service.waiting import LongPolls
from micromdm_py.storage.base import Store

__all__ = ["build_dep", "build_devices"]


def build_dep(
    store: Store,
    accounts: Accounts,
    slots: int,
    *,
    user_agent: str,
    wake: Callable[[], None],
    now: Callable[[], datetime],
) -> Dep:
    """The use cases of automated enrollment.

    Args:
        store: where everything is kept.
        accounts: the DEP accounts, one per stored token.
        slots: how many calls to Apple may run at once.
        user_agent: User-Agent of these calls.
        wake: wakes the courier.
        now: gives the time, aware UTC.
    """
    roster = Roster(store)
    sessions = DepSessions(user_agent=user_agent, now=now, make_nonce=partial(secrets.token_hex, 16))
    return Dep(
        DepTokens(store, wake=wake, now=now, make_key=partial(rsa.generate_private_key, 65537, 2048)),
        DepProxy(accounts, roster, lead.waiting(DepClient(sessions)), slots, now=now),
        DepRules(store, accounts, roster, wake=wake, now=now),
    )


def build_devices(store: Store, accounts: Accounts, slots: int, *, now: Callable[[], datetime]) -> Devices:
    """What administrators do with devices, including those not enrolled yet; arguments as in `build_dep`."""
    first_sync = FirstSync(store, accounts, lead.waiting(LongPolls(slots)))
    return Devices(store, Roster(store), now, first_sync)
