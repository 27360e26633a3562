"""Why nothing of a revision may be started now."""

from datetime import datetime

from catalog.models import VersionState
from endpoints.facts import Reason
from endpoints.models import Revision


def refusal(revision: Revision, now: datetime) -> Reason | None:
    """Return why nothing of `revision` may be started now: its version is blocked, or its authorization has ended."""
    version = revision.version
    if version.state == VersionState.BLOCKED:
        sentence = (
            f"{version.asset.name} {version.version} is blocked in the catalog, so nothing of it is started. "
            "Ask for another version, or press Retry when the block is lifted."
        )
        return Reason("version_blocked", sentence, "platform")
    ends = revision.authorization_valid_until
    if ends is not None and ends < now.date():
        sentence = (
            f"The approval {revision.authorization_reference} ended on {ends}. Ask for a renewal, then press Retry."
        )
        return Reason("authorization_ended", sentence, "owner")
    return None
