"""Who may propose assets and versions, how many at a time, and what they may do with their own.

Stewards may. So may everybody who may send requests in some project: what they propose is a draft that nothing starts,
until somebody else has let it in.
"""

from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from audit.services import record
from catalog.listings import refresh
from catalog.locking import hold
from catalog.models import Asset, Version, VersionState
from portal.errors import Conflict, Forbidden
from portal.states import move
from projects.models import Project, User
from projects.permissions import BUILDERS, can, can_anywhere, require
from projects.principal import Principal

MOST_OPEN = 20  # proposals of one person that nobody has decided yet: names are not to be taken in stock
OPEN = (VersionState.DRAFT, VersionState.IN_REVIEW)


def may_propose(by: Principal) -> bool:
    """Whether `by` may propose an asset or a version: stewards, and whoever may send requests in some project. No
    query. A credential that is bound to a project may not.
    """
    if can_anywhere(by, "create", Version):
        return True
    return by.project_id is None and can_anywhere(by, "request", Project)


def stewards(by: Principal) -> bool:
    """Whether `by` may send every version to review. No query."""
    return can_anywhere(by, "submit", Version)


def require_propose(by: Principal) -> None:
    """Raise Forbidden unless `may_propose`."""
    if not may_propose(by):
        raise Forbidden.for_want_of(
            BUILDERS,
            "To propose something for the catalog you need the role developer or owner in a project. "
            "A project owner or platform engineer can give it to you.",
        )


def is_own(by: Principal, version: Version) -> bool:
    """Whether `version` is a proposal of `by` that was never approved."""
    own = by.user is not None and version.proposed_by_id == by.user.pk and by.project_id is None
    return own and version.approved_at is None


def may_submit(by: Principal, version: Version, *, shown: bool = False) -> bool:
    """Whether `by` may hand `version` to review, and take it back from there: stewards, and who proposed it. `shown`:
    it was read as one that they see, so that no query is needed.
    """
    return can(by, "submit", version) or (is_own(by, version) and (shown or can(by, "view", version)))


def require_submit(by: Principal, version: Version) -> None:
    """Raise NotFound or Forbidden unless `may_submit`."""
    if not may_submit(by, version):
        require(by, "submit", version)


def may_change(by: Principal, asset: Asset, *, approved: bool | None = None, shown: bool = False) -> bool:
    """Whether `by` may change what the card of `asset` says: stewards, and who proposed it as long as no version of it
    was ever approved. `approved`: whether one was, where the caller knows (a query otherwise); `shown` as above.
    """
    if can(by, "change", asset):
        return True
    if by.user is None or asset.proposed_by_id != by.user.pk or by.project_id is not None:
        return False
    if approved is None:
        approved = Version.objects.filter(asset=asset, approved_at__isnull=False).exists()
    return not approved and (shown or can(by, "view", asset))


def require_change(by: Principal, asset: Asset) -> None:
    """Raise NotFound or Forbidden unless `may_change`."""
    if not may_change(by, asset):
        require(by, "change", asset)


def open_proposals(person: User) -> int:
    """Return how many proposals of `person` are not decided (two queries). What was rejected or discarded counts no
    more.
    """
    versions = Version.objects.filter(proposed_by=person, state__in=OPEN, approved_at=None, state_reason="")
    return versions.count() + Asset.objects.filter(proposed_by=person, versions=None).count()


def require_room(by: Principal, more: int) -> None:
    """Raise Conflict `too_many_proposals` when `more` proposals would be too many for `by`; stewards have no limit.

    Call it in the transaction that adds them: two of one person wait for each other.
    """
    if can_anywhere(by, "create", Version):
        return
    User.objects.select_for_update().get(pk=by.person.pk)
    now = open_proposals(by.person)
    if now + more > MOST_OPEN:
        raise Conflict(
            f"You have {now} proposals that nobody has decided yet; the limit is {MOST_OPEN}. Discard one, or wait for "
            "a decision.",
            code="too_many_proposals",
        )


def discard(by: Principal, version: Version) -> None:
    """Take a draft away that nobody has let in. One that was never sent to review is deleted, and so is its asset when
    the same person proposed it and nothing is left of it. One that was sent once ends as retired: what was asked and
    answered about it stays readable, and it counts no more as an open proposal.

    Requests are the caller's business. Raises NotFound, Forbidden, and Conflict `not_a_draft`.
    """
    require_submit(by, version)
    with transaction.atomic():
        asset = hold(version.asset_id)
        current = Version.objects.select_related("asset").get(pk=version.pk)
        require_discardable(current)
        facts = {"asset": asset.slug, "version": current.version, "digest": current.digest}
        if current.changed_at is not None or not _deleted(current):
            _set_aside(by, current, facts)
        else:
            record("catalog.discard", by=by, obj=("version", str(version.pk)), before=facts)
            same = asset.proposed_by_id is not None and asset.proposed_by_id in {by.person.pk, version.proposed_by_id}
            if same and not asset.versions.exists():
                record("catalog.discard", by=by, obj=asset, before={"asset": asset.slug})
                asset.delete()
                return
        refresh(asset)


def _deleted(version: Version) -> bool:
    try:
        version.delete()
    except ProtectedError:  # it was sent under a release that kept no time of it
        return False
    return True


def _set_aside(by: Principal, version: Version, facts: dict[str, str]) -> None:
    """End a draft that was sent to review once."""
    said = f"Discarded without having been let in. {version.state_reason}".strip()[:300]
    rows = Version.objects.filter(pk=version.pk)
    if not move(rows, VersionState.DRAFT, VersionState.RETIRED, state_reason=said, changed_at=timezone.now()):
        raise _not_a_draft(version)
    before = {"state": VersionState.DRAFT.value, "reason": version.state_reason}
    record("catalog.discard", by=by, obj=version, before=before, after=facts | {"state": VersionState.RETIRED.value})


def require_discardable(version: Version) -> None:
    """Raise Conflict `not_a_draft` unless `version` is a draft that was never let in."""
    if version.state != VersionState.DRAFT or version.approved_at is not None:
        raise _not_a_draft(version)


def _not_a_draft(version: Version) -> Conflict:
    now = VersionState(version.state).label.lower()
    return Conflict(
        f"{version.asset.slug} {version.version} is {now}; only a draft that nobody has let in can be discarded.",
        code="not_a_draft",
    )


__all__ = [
    "MOST_OPEN",
    "discard",
    "is_own",
    "may_change",
    "may_propose",
    "may_submit",
    "open_proposals",
    "require_change",
    "require_discardable",
    "require_propose",
    "require_room",
    "require_submit",
    "stewards",
]
