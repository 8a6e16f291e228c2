"""What administrators have made in MicroMDM: profiles, blueprints and users."""

from collections.abc import Iterator, Sequence

from micromdm_py.migration.inventory import named
from micromdm_py.migration.messages import OldBlueprint, OldProfile, OldUser
from micromdm_py.migration.report import Report
from micromdm_py.migration.source import OldDatabase
from micromdm_py.protocol.enrollment import SHARED_IPAD_USER_ID
from micromdm_py.service.blueprints import BLUEPRINT, PROFILE, Blueprint, encode_blueprint
from micromdm_py.service.users import USER, USER_CHANNEL, User, channel_name, encode_user
from micromdm_py.storage.transfer import MovedDocument

__all__ = ["blueprints", "channel_of", "profiles", "users"]

MAX_NAME_BYTES = 400
"""Longest name of a document; a channel with a longer id is entered again when its user comes."""
PROFILES, BLUEPRINTS = "mdm.Profile", "mdm.Blueprint"


def profiles(old: OldDatabase) -> Iterator[MovedDocument]:
    """Profiles by their identifiers, byte for byte."""
    for key, profile in old.messages(PROFILES, OldProfile):
        with old.counted(PROFILES, key):
            if not profile.mobileconfig:
                raise ValueError("is empty")
            yield MovedDocument(PROFILE, named(key), profile.mobileconfig)


def blueprints(old: OldDatabase, report: Report, known: set[str], urls: list[str]) -> Iterator[MovedDocument]:
    """Blueprints by their uuids.

    Args:
        old: the open database.
        report: takes warnings.
        known: names of all profiles and users.
        urls: the manifests that they name are added here.
    """
    for key, blueprint in old.messages(BLUEPRINTS, OldBlueprint):
        urls += blueprint.manifest_urls
        gone = [name for name in (*blueprint.profile_ids, *blueprint.user_uuid) if name not in known]
        if gone:
            report.warnings.append(f"blueprint {blueprint.name} names what is missing: {', '.join(gone)}")
        with old.counted(BLUEPRINTS, key):
            made = Blueprint(
                named(key),
                blueprint.name,
                blueprint.manifest_urls,
                blueprint.profile_ids,
                blueprint.user_uuid,
                blueprint.skip_primary_setup_account_creation,
                blueprint.set_primary_setup_account_as_regular_user,
                blueprint.apply_at,
            )
            yield MovedDocument(BLUEPRINT, made.uuid, encode_blueprint(made))


def users(found: Sequence[OldUser]) -> Iterator[MovedDocument]:
    """Users by their uuids, and for each user channel the uuid of its user."""
    for user in found:
        made = User(
            user.uuid,
            user.udid,
            user.user_id,
            user.user_shortname,
            user.user_longname,
            user.auth_token,
            user.password_hash,
            user.hidden,
        )
        yield MovedDocument(USER, made.uuid, encode_user(made))
        if user.user_id and len(channel_of(user).encode()) <= MAX_NAME_BYTES:
            yield MovedDocument(USER_CHANNEL, channel_name(made), made.uuid.encode())


def channel_of(user: OldUser) -> str:
    """Id of the enrollment that a user channel is."""
    account = user.user_shortname if user.user_id == SHARED_IPAD_USER_ID else user.user_id
    return f"{user.udid}:{account}"
