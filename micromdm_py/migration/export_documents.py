"""The documents of a store as rows of MicroMDM's database: profiles, blueprints, users."""

from micromdm_py.migration.messages import OldBlueprint, OldProfile, OldUser, encode
from micromdm_py.migration.rows import Rows
from micromdm_py.service.blueprints import BLUEPRINT, PROFILE, decode_blueprint
from micromdm_py.service.users import USER, decode_user
from micromdm_py.storage.transfer import MovedDocument

__all__ = ["add_document", "put_user"]


def add_document(one: MovedDocument, rows: Rows) -> None:
    """Add the row of a document; kinds that the old server does not know have none."""
    if one.kind == PROFILE:
        rows.put("mdm.Profile", one.name, encode(OldProfile(one.name, one.body)))
    elif one.kind == BLUEPRINT:
        _put_blueprint(one, rows)
    elif one.kind == USER:
        user = decode_user(one.name, one.body)
        put_user(
            OldUser(
                user.uuid,
                user.udid,
                user.user_id,
                user.user_shortname,
                user.user_longname,
                user.auth_token,
                user.password_hash,
                user.hidden,
            ),
            rows,
        )


def put_user(user: OldUser, rows: Rows) -> None:
    """Add a user, and the index entries that lead to it."""
    rows.put("mdm.Users", user.uuid, encode(user))
    for name in filter(None, (user.user_id, user.udid)):
        rows.put("mdm.UserIdx", name, user.uuid.encode())


def _put_blueprint(one: MovedDocument, rows: Rows) -> None:
    blueprint = decode_blueprint(one.body)
    old = OldBlueprint(
        blueprint.uuid,
        blueprint.name,
        blueprint.install_application_manifest_urls,
        blueprint.profile_ids,
        blueprint.apply_at,
        blueprint.user_uuids,
        blueprint.skip_primary_setup_account_creation,
        blueprint.set_primary_setup_account_as_regular_user,
    )
    rows.put("mdm.Blueprint", old.uuid, encode(old))
    rows.put("mdm.BlueprintIdx", old.name, old.uuid.encode())
