"""To let a version into the catalog: what it is, what its content is pinned to, what was found about it. Approval lets
it in; every other answer leaves it where it was.

The plan names the digest of each finding, so that a decision binds the evidence that the reviewer saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from approvals.bodies import AdmissionBody
from approvals.kinds import offered
from approvals.kinds.base import Subject, shell, shortened
from approvals.models import Request, RequestKind, RequestState
from approvals.verdicts import FAIL, PASS, WARN, Check
from catalog import proposing, standing
from catalog import services as catalog
from catalog.locking import hold
from catalog.models import Kind, Pin, Version, VersionState
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import User
from projects.principal import Principal

SENDABLE = (VersionState.DRAFT, VersionState.BLOCKED)
SHOWN_FILES, MAX_REASON = 20, 300


@dataclass(frozen=True)
class Resolved:
    """The version with its evidence, and the one of the same asset that was approved before it."""

    version: Version
    before: Version | None

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return Subject(None, self.version.asset.slug, version=self.version)


def subject(by: Principal, body: AdmissionBody) -> Subject:
    """Return what a draft is about, as far as it says so."""
    proposing.require_propose(by)
    version = _find(by, body) if body.asset and body.version else None
    return Subject(None, (body.asset or "")[:40], version=version)


def resolve(by: Principal, body: AdmissionBody) -> Resolved:
    """Look up the version; raises Invalid for one that the caller does not see or may not hand to review."""
    version = _find(by, body)
    earlier = Version.objects.filter(asset=version.asset_id, approved_at__isnull=False).exclude(pk=version.pk)
    return Resolved(version, earlier.select_related("pin").order_by("-approved_at", "-pk").first())


def _find(by: Principal, body: AdmissionBody) -> Version:
    rows = Version.objects.visible_to(by).filter(asset__slug=body.asset, version=body.version)
    found: Version | None = rows.select_related("asset", "pin").prefetch_related("evidence").first()
    if found is None:
        raise Invalid.field(
            "version", f"version {body.asset}@{body.version} does not exist, or you may not see it. Propose it first."
        )
    if not proposing.may_submit(by, found):
        raise Invalid.field(
            "version",
            f"version {body.asset}@{body.version} was proposed by somebody else. They, a platform engineer or a "
            "governance lead can send it to review.",
        )
    return found


def build(by: Principal, body: AdmissionBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: what would be started, the pin, every finding with its digest, what differs from before."""
    version, before = found.version, found.before
    judged = standing.judged(version)
    checks = [_state(version), *(_check(one) for one in judged), _explained(body)]
    return {
        **shell("admission", checks),
        "asset": version.asset.slug,
        "asset_name": version.asset.name,
        "asset_kind": version.asset.kind,
        "version": version.version,
        "licence": version.licence,
        "source": version.source,
        "specification": version.digest,
        "card": version.asset.card_digest(),
        "pin": _pin(version),
        **({"tools": offered.compared(before, version)} if version.asset.kind == Kind.MCP_SERVER else {}),
        "runtime": {name: version.runtime.get(name, "") for name in ("engine", "image", "command") if version.runtime},
        "evidence": [one.facts() for one in judged],
        "blocked_for": version.state_reason if version.state == VersionState.BLOCKED else "",
        "before": {"version": before.version, "digest": before.digest} if before else None,
        "changes": changes(before, version) if before else [],
    }


def _pin(version: Version) -> dict[str, Any] | None:
    pin: Pin | None = getattr(version, "pin", None)
    if pin is None or not pin.digest:
        return None
    return {"revision": pin.revision, "digest": pin.digest, "files": len(pin.files), "bytes": pin.total_bytes}


def changes(before: Version, after: Version) -> list[dict[str, Any]]:
    """Return what differs between two versions of an asset, for a reviewer: fields, what is started, files."""
    pairs = [
        ("Source", before.source, after.source),
        ("Licence", before.licence, after.licence),
        *((name.capitalize(), _words(before.runtime.get(name)), _words(after.runtime.get(name)))
          for name in ("engine", "image", "command")),
        *((name.replace("_", " ").capitalize(), _words(before.needs.get(name)), _words(after.needs.get(name)))
          for name in sorted({*before.needs, *after.needs})),
    ]  # fmt: skip
    rows = [{"field": name, "before": old, "after": new} for name, old, new in pairs if old != new]
    return rows + _files(getattr(before, "pin", None), getattr(after, "pin", None))


def _words(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list) else "" if value is None else str(value)


def _files(before: Pin | None, after: Pin | None) -> list[dict[str, Any]]:
    """Return which files came, went or changed, the first of each."""
    if before is None or after is None or not before.digest or before.digest == after.digest:
        return []
    old, new = ({item["path"]: item["sha256"] for item in pin.files} for pin in (before, after))
    said = [
        ("Files added", sorted(set(new) - set(old))),
        ("Files gone", sorted(set(old) - set(new))),
        ("Files changed", sorted(path for path in set(old) & set(new) if old[path] != new[path])),
    ]
    return [
        {"field": name, "before": "", "after": f"{len(paths)}: {', '.join(paths[:SHOWN_FILES])}"}
        for name, paths in said
        if paths
    ]


# --- Checks -----------------------------------------------------------------------------------------------------------


def _state(version: Version) -> Check:
    """Only what waits to be let in can be let in."""
    state = VersionState(version.state)
    ok = state in {*SENDABLE, VersionState.IN_REVIEW}
    return Check(
        "adm-001",
        "Version is not decided yet",
        PASS if ok else FAIL,
        f"{version.asset.slug} {version.version} is {state.label.lower()}.",
        "" if ok else "Propose another version.",
        "version",
    )


def _check(one: standing.Judged) -> Check:
    """A finding as a rule of the plan; one that is missing or too old fails: nothing unverified is let in."""
    verdict = {standing.PASS: PASS, standing.WARN: WARN}.get(one.standing, FAIL)
    named = "." in one.reason.partition(" ")[0]  # a file: its name is not a word
    reason = one.reason if named else f"{one.reason[:1].upper()}{one.reason[1:]}"
    return Check(f"ev-{one.kind}", one.title, verdict, reason, one.fix, f"evidence.{one.kind}")


def _explained(body: AdmissionBody) -> Check:
    ok = bool(body.purpose)
    reason = "The purpose is stated." if ok else "Nobody says what it is for."
    return Check("adm-002", "Purpose is stated", PASS if ok else WARN, reason, "" if ok else "Say what for.", "purpose")


# --- The life of the version follows the request ----------------------------------------------------------------------


def guard(request: Request, found: Resolved) -> None:
    """One request at a time, for a draft or a blocked version."""
    version = found.version
    same = Request.objects.filter(kind=request.kind, version=version, state=RequestState.SUBMITTED)
    other = same.exclude(pk=request.pk).first()
    if other is not None:
        raise Conflict(
            f"{other} asks for {version.asset.slug} {version.version} already and waits for a decision.",
            code="already_asked",
            extra={"request": other.pk},
        )
    if version.state not in {*SENDABLE, VersionState.IN_REVIEW}:
        raise Conflict(
            f"{version.asset.slug} {version.version} is {VersionState(version.state).label.lower()}; only a draft or a "
            "blocked version can be sent to review."
        )


def sent(by: Principal, request: Request, found: Resolved) -> None:
    """Hand the version to review, in the transaction of the submission."""
    if found.version.state != VersionState.IN_REVIEW:
        catalog.submit(by, found.version)


def ended(by: Principal, request: Request, reason: str | None) -> None:
    """Give the version back: a reviewer said no or asks for changes for `reason`, or the requester took it back (None).

    What was blocked, or decided in another way, meanwhile stays as it is.
    """
    if request.version_id is None:
        return
    version = Version.objects.select_for_update(of=("self",)).select_related("asset").get(pk=request.version_id)
    if version.state != VersionState.IN_REVIEW:
        return
    blocked_for = str(request.plan.get("blocked_for", ""))
    if reason is None:
        catalog.take_back(by, version, blocked_for)
        return
    text = shortened(" ".join(reason.split()), MAX_REASON)
    catalog.reject(by, version, text if len(text) >= 3 else f"Rejected: {text}", blocked_for)


def own_proposal(request: Request, person: User) -> bool:
    """Whether `request` asks to let in for the first time what `person` proposed, whoever sent it to review."""
    version = proposal(request)
    return version is not None and version.proposed_by_id == person.pk


def proposal(request: Request) -> Version | None:
    """Return the version that `request` asks to let in for the first time, None where it asks for something else."""
    version = request.version if request.kind == RequestKind.ADMISSION else None
    return version if version is not None and version.approved_at is None else None


def apply(by: Principal, request: Request, body: AdmissionBody, found: Resolved) -> None:
    """Let the version in; the catalog judges its evidence again. Raises Forbidden `own_request` for what `by` proposed,
    whoever sent it to review, and Conflict `plan_stale` when card or tools say something else than when it was sent.
    """
    version = found.version
    if own_proposal(request, by.person):
        raise Forbidden("Nobody decides on an own proposal. Ask another reviewer.", code="own_request")
    with transaction.atomic():
        # Who changes the card, or pins tools, waits for this: what is let in is what the reviewer has read.
        version.asset = hold(version.asset_id)
        now = build(by, body, found)
        other = _unread(request.plan, now)
        if other:
            raise Conflict(
                f"The plan is stale: {other} after {request} was sent. Ask for changes, so that it is sent again.",
                code="plan_stale",
                extra={"plan": now},
            )
        catalog.approve(by, version)


def _unread(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what of a plan says something else by now than when it was frozen, beyond the checks, or ""; what the plan
    of an earlier release does not name is passed over.
    """
    if frozen.get("card", now["card"]) != now["card"]:
        return f"the card of {now['asset']} was changed"
    before, after = ({tool["name"]: tool["digest"] for tool in plan.get("tools", [])} for plan in (frozen, now))
    return "its tools were pinned anew" if "tools" in frozen and before != after else ""


__all__ = ["apply", "build", "changes", "ended", "guard", "resolve", "sent", "subject"]
