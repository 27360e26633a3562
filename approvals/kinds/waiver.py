"""An exception from one rule: what fails, for what, what is done instead, who answers for it, until when.

Approval lets the check pass for that request or endpoint until the day. approvals/apps.py adds this kind to the others:
its plan needs theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approvals import waiving
from approvals.bodies import WaiverBody
from approvals.kinds.base import Subject, endpoint_facts, living, shell, shortened
from approvals.models import Request, RequestKind, RequestState, Waiver, WaiverState
from approvals.policies.active import active
from approvals.verdicts import INFO, PASS, Check
from approvals.waivers import judging, services
from endpoints.models import Endpoint
from portal.errors import Conflict, Invalid
from projects.models import Project, User
from projects.permissions import can, visible
from projects.principal import Principal


@dataclass(frozen=True)
class About:
    """What a waiver is for: a request or an endpoint. `beneficiary`: who asked for it."""

    project: Project
    request: Request | None
    endpoint: Endpoint | None
    beneficiary: User | None

    @property
    def label(self) -> str:
        """What people call it."""
        if self.endpoint is not None:
            return f"{self.project.slug}/{self.endpoint.name}"
        return f"{self.request} {self.request.name}".strip() if self.request else ""

    @property
    def key(self) -> dict[str, str]:
        """What it is, as plans name it."""
        if self.endpoint is not None:
            return {"kind": "endpoint", "id": str(self.endpoint.pk)}
        return {"kind": "request", "id": str(self.request.pk) if self.request else ""}


@dataclass(frozen=True)
class Resolved:
    """What it is for, the check that fails, who will answer for the waiver, and for what it will count."""

    about: About
    check: Mapping[str, Any]
    owner: User
    asks: dict[str, Any]  # of a request: what it asks for, as far as the rule looks at it

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return _subject(self.about, str(self.check["id"]))


def subject(by: Principal, body: WaiverBody) -> Subject:
    """Return what a draft is about: the request or the endpoint says in which project it is."""
    return _subject(about(by, body), body.check or "")


def _subject(found: About, check: str) -> Subject:
    thing = found.endpoint or found.request
    name = f"{check} on {thing.name}" if thing is not None and check else check
    environment = thing.environment if thing is not None else ""
    return Subject(found.project, shortened(name, 40), environment, endpoint=found.endpoint)


def about(by: Principal, body: WaiverBody) -> About:
    """Return the request or endpoint that `body` names; raises Invalid where `by` may not ask for a waiver of it."""
    wrong = body.conflicts()
    if wrong:
        raise Invalid(next(iter(wrong.values())), fields=wrong)
    return _request(by, body.request) if body.request is not None else _endpoint(by, body.endpoint or "")


def _request(by: Principal, key: int) -> About:
    rows = visible(by, Request.objects.all()).select_related("project", "requester", "endpoint")
    found: Request | None = rows.filter(pk=key).first()
    if found is None or found.project is None or not _may_ask(by, found):
        raise Invalid.field(
            "request",
            f"request {key} is not one for which you may ask a waiver. Choose an open request of your own, or one that "
            "waits for your decision.",
        )
    if found.kind in judging.NEVER or found.state not in judging.OPEN:
        words = found.get_kind_display() if found.kind in judging.NEVER else found.get_state_display().lower()
        raise Invalid.field("request", f"request {found} is {words}; a waiver is for an open request of another kind.")
    return About(found.project, found, None, found.requester)


def _may_ask(by: Principal, request: Request) -> bool:
    """Its requester may, and who decides on it."""
    own = request.requester_id == by.person.pk and can(by, "request", request.project or request)
    return own or (request.state == RequestState.SUBMITTED and can(by, "decide", request))


def _endpoint(by: Principal, key: str) -> About:
    found: Endpoint | None = visible(by, living().select_related("created_by"), "inspect").filter(pk=key).first()
    if found is None or not (can(by, "request", found.project) or can(by, "decide", found.project, model=Request)):
        raise Invalid.field(
            "endpoint",
            f"endpoint {key} is not one for which you may ask a waiver: it is deleted, or in a project where you are "
            "neither owner nor developer. Choose one of your projects' endpoints.",
        )
    return About(found.project, None, found, found.created_by)


def resolve(by: Principal, body: WaiverBody) -> Resolved:
    """Look up what a whole body names; raises Invalid when the check does not fail there now or may not be waived, or
    when the owner is nobody of the project.
    """
    found = about(by, body)
    checks = (
        judging.checks_of_request(found.request)
        if found.request is not None
        else judging.checks_of_endpoint(found.endpoint)
        if found.endpoint is not None
        else []
    )
    check = judging.chosen(checks, body.check or "", found.label)
    return Resolved(found, check, _owner(found.project, body.owner or ""), asked_for(found.request, str(check["id"])))


def asked_for(request: Request | None, check: str) -> dict[str, Any]:
    """Return for what of `request` a waiver of `check` would count (one query); nothing where it is for an endpoint."""
    rule = next((one for one in active().bundle.rules if one.id == check), None) if request is not None else None
    return waiving.asks(request.body, rule) if request is not None and rule is not None else {}


def _owner(project: Project, username: str) -> User:
    people = User.objects.filter(is_active=True, is_service=False, memberships__project=project)
    found = people.filter(username=username).first()
    if found is None:
        raise Invalid.field(
            "owner", f"owner is {username!r}, who is nobody of {project.slug}. Name a person who works in the project."
        )
    return found


def build(by: Principal, body: WaiverBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: which rule would pass for what, why it fails, what is done instead, until when."""
    facts, check = found.about, found.check
    reason = f"{check['title']}: {check['reason']}"
    checks = [Check("wai-001", "The rule fails and may be waived", PASS, reason, "", "check"), *_ends(body, facts)]
    return {
        **shell("waiver", checks),
        "project": facts.project.slug,
        "about": {
            **facts.key,
            "label": facts.label,
            **({"asks": found.asks} if facts.request is not None else {}),
            "requester": facts.beneficiary.username if facts.beneficiary else "",
        },
        **({"endpoint": endpoint_facts(facts.endpoint)} if facts.endpoint else {}),
        "rule": {name: check[name] for name in ("id", "title", "reason", "fix", "severity", "controls")},
        "owner": found.owner.username,
        "compensating_control": body.compensating_control or "",
        "waived_until": body.ends_on.isoformat() if body.ends_on else None,
    }


def _ends(body: WaiverBody, facts: About) -> list[Check]:
    """Say when it ends before what it is for: the rule fails again then."""
    until = str((facts.request.body if facts.request else {}).get("ends_on") or "")
    if facts.endpoint is not None and facts.endpoint.ends_on is not None:
        until = facts.endpoint.ends_on.isoformat()
    if body.ends_on is None or until <= body.ends_on.isoformat():
        return []
    reason = f"{facts.label} runs until {until}; after {body.ends_on} the rule fails again."
    return [Check("wai-002", "Ends with what it is for", INFO, reason, "Mend what fails until then.", "ends_on")]


def guard(request: Request, found: Resolved) -> None:
    """One waiver, and one request for it, per check and object."""
    facts, check = found.about, str(found.check["id"])
    Project.objects.select_for_update().get(pk=facts.project.pk)  # two that are sent at the same instant queue here
    held = Waiver.objects.filter(check_id=check, state=WaiverState.ACTIVE)
    thing = {"request": facts.request} if facts.request is not None else {"endpoint": facts.endpoint}
    other = held.filter(**thing).first()
    if other is not None and (facts.request is None or waiving.counts(other, facts.request.body)):
        raise Conflict(
            f"{other} waives {check} for {facts.label} until {other.ends_on} already.", code="already_waived"
        )
    waiting = Request.objects.filter(kind=RequestKind.WAIVER, project=facts.project, state=RequestState.SUBMITTED)
    for one in waiting.exclude(pk=request.pk):
        place = one.plan.get("about", {})
        same = {name: place.get(name) for name in facts.key} == facts.key
        if same and one.plan.get("rule", {}).get("id") == check:
            raise Conflict(
                f"{one} asks for this waiver already and waits for a decision. Withdraw it first, or comment on it.",
                code="already_asked",
                extra={"request": one.pk},
            )


def apply(by: Principal, request: Request, body: WaiverBody, found: Resolved) -> None:
    """Let the check pass until the day. Raises Forbidden `own_waiver` for the owner, and for who asked for what it is
    about, and Conflict `plan_stale` where that asks for something else than when the waiver was asked for.
    """
    judging.require_second_person(request, by.person)
    was = request.plan.get("about", {}).get("asks")
    if was is not None and was != found.asks:
        raise Conflict(
            f"The plan is stale: {found.about.request} was changed since this waiver was asked for. Reject it: whoever "
            "needs one asks anew.",
            code="plan_stale",
        )
    if body.ends_on is None:
        raise Invalid.field("ends_on", "ends_on is missing. Fill it in.")
    services.grant(
        by,
        request,
        check=str(found.check["id"]),
        project=found.about.project,
        request=found.about.request,
        endpoint=found.about.endpoint,
        asks=found.asks,
        beneficiary=found.about.beneficiary,
        owner=found.owner,
        reason=body.purpose or "",
        compensating_control=body.compensating_control or "",
        ends_on=body.ends_on,
    )
