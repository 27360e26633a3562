"""Why nothing of a revision may be started now."""

from datetime import datetime

from catalog.models import VersionState, drift_of
from endpoints.facts import Reason
from endpoints.models import Revision


def refusal(revision: Revision, now: datetime) -> Reason | None:
    """Return why nothing of `revision` may be started now: its version is blocked, or was and is not let in again; the
    content of its version has drifted from what was approved, its row was altered, or its authorization has ended.
    """
    version = revision.version
    if version.state == VersionState.BLOCKED:
        sentence = (
            f"{version.asset.name} {version.version} is blocked in the catalog, so nothing of it is started. "
            "Ask for another version, or press Retry when the block is lifted."
        )
        return Reason("version_blocked", sentence, "platform")
    if version.state in {VersionState.IN_REVIEW, VersionState.DRAFT}:  # it was blocked, and waits to be let in again
        sentence = (
            f"{version.asset.name} {version.version} is looked at again in the catalog, so nothing of it is started. "
            "Ask for another version, or press Retry when it is approved."
        )
        return Reason("version_blocked", sentence, "platform")
    drifted = drift_of(version)
    if drifted:
        sentence = (
            f"The content of {version.asset.name} {version.version} is not what was approved any more, so nothing of "
            f"it is started. {drifted} Press Retry when the source holds again what was pinned."
        )
        return Reason("version_drifted", sentence, "platform")
    # Unsealed is only what the release before wrote while both ran.
    if revision.seal and revision.seal != revision.digest():
        sentence = (
            f"Revision {revision.number} is not what was approved as {revision.authorization_reference}: its row was "
            "changed in the database, so nothing of it is started. Ask for a new revision, and tell the auditors."
        )
        return Reason("revision_altered", sentence, "platform")
    ends = revision.authorization_valid_until
    if ends is not None and ends < now.date():
        sentence = (
            f"The approval {revision.authorization_reference} ended on {ends}. Ask for a renewal, then press Retry."
        )
        return Reason("authorization_ended", sentence, "owner")
    return None
