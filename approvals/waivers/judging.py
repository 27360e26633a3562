"""What can be waived, and by whom: the checks that fail now, and the people who may not say yes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from approvals import findings
from approvals import plan as plans
from approvals.bodies import EndpointBody, complete, parse
from approvals.kinds import endpoint as endpoints
from approvals.models import Choice, Decision, Request, RequestKind, RequestState
from approvals.verdicts import FAIL, WAIVED
from endpoints.models import Endpoint
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import User
from projects.principal import Principal

OPEN = (RequestState.DRAFT, RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
NEVER = (RequestKind.WAIVER, RequestKind.ADMISSION)  # the first would waive itself; the second belongs to no project

Checks = list[Mapping[str, Any]]


def checks_of_request(request: Request, by: Principal | None = None) -> Checks:
    """Return the checks of `request` as they are today, worst first; `by`: who reads them, whose roles are known where
    they asked for it. Raises Invalid where it cannot be judged yet.
    """
    try:
        body = parse(request.body)
        complete(body)
        own = by is not None and by.person.pk == request.requester_id
        asker = by if by is not None and own else Principal.of(request.requester)
        resolved = (
            replace(endpoints.resolve(asker, body, request.project), whole=False)  # no rule reads what could be shared
            if isinstance(body, EndpointBody)
            else plans.resolve(asker, body)
        )
        found: Checks = plans.build(asker, body, resolved=resolved, request=request)["checks"]
    except (Invalid, Conflict) as error:
        raise Invalid.field("request", f"{request} cannot be judged as it stands. {error.sentence}") from error
    return found


def checks_of_endpoint(endpoint: Endpoint) -> Checks:
    """Return what the rules say of a running endpoint today, worst first."""
    return [check.json() for check in findings.judged([endpoint])[str(endpoint.pk)]]


def failing(checks: Checks) -> Checks:
    """Return the checks that a waiver would let pass."""
    return [check for check in checks if check["verdict"] == FAIL and check["waivable"]]


def chosen(checks: Checks, name: str, thing: str) -> Mapping[str, Any]:
    """Return the failing check `name` among those of `thing`; raises Invalid where there is nothing to waive."""
    check = next((one for one in checks if one["id"] == name), None)
    if check is not None and check["verdict"] == FAIL and check["waivable"]:
        return check
    if check is not None and check["verdict"] == FAIL:
        raise Invalid.field(
            "check", f"check {name} cannot be waived: it says what would not work. {check['fix']}".strip()
        )
    if check is not None and check["verdict"] == WAIVED:
        raise Invalid.field(
            "check",
            f"check {name} is waived for {thing} until {check['waived_until']} already.",
            code="already_waived",
        )
    names = ", ".join(str(one["id"]) for one in failing(checks)) or "no check that may be waived"
    raise Invalid.field(
        "check", f"check {name!r} does not fail on {thing} now, so there is nothing to waive. It fails {names}."
    )


def barred(person: User, request: Request) -> str:
    """Return why `person` may not approve the waiver that `request` asks for, or "" (no query): its owner, and who
    asked for what it is about. Its requester is barred as of every request.
    """
    if request.kind != RequestKind.WAIVER:
        return ""
    if person.username == request.body.get("owner"):
        return "Nobody approves a waiver that they will answer for. Ask another governance lead."
    about = request.plan.get("about", {})
    if about.get("requester") and person.username == about["requester"]:
        return f"Nobody approves a waiver for what they asked for: {about['label']}. Ask another governance lead."
    return ""


def require_second_person(request: Request, person: User) -> None:
    """Raise Forbidden `own_waiver` unless everybody who said yes to this waiver, also in another's name, may."""
    said = Decision.objects.filter(request=request, submission=request.submission, decision=Choice.APPROVE)
    people = [person]
    for decision in said.select_related("reviewer", "on_behalf_of"):
        people += [decision.reviewer, *([decision.on_behalf_of] if decision.on_behalf_of else [])]
    for one in people:
        sentence = barred(one, request)
        if sentence:
            raise Forbidden(sentence, code="own_waiver")
