"""Who sits in judgement: the guard before every decision. It answers with a Session, or says why not."""

from dataclasses import dataclass, replace

from approvals import builtin
from approvals.kinds.admission import own_proposal, proposal
from approvals.models import Decision, Request, RequestKind, RequestState, Stage, StageState
from approvals.stages import keeping, machine
from approvals.stages.standing import Barred, Refusal, Seat, Standing, split, tokens
from approvals.waivers import judging
from portal.errors import Conflict, Forbidden
from projects.models import User
from projects.oauth.reading import behind
from projects.permissions import can, require
from projects.principal import Principal

OWN = "own_request"


@dataclass(frozen=True)
class Session:
    """One decision about to be taken, in its transaction. `request` is locked.

    `by` decides, with the permissions of `acting`: the own ones, or those of `behalf`. `used`: ids of those who said
    yes to earlier stages. `rule`: id of the envelope, where no person decides.
    """

    by: Principal
    acting: Principal
    behalf: User | None
    request: Request
    stage: Stage
    stages: list[Stage]
    used: frozenset[str]
    rule: str = ""

    @property
    def who(self) -> str:
        """Who decides, as people are told: omar for pat."""
        if self.rule:
            return f"the rule {self.rule}"
        return f"{self.by.name} for {self.behalf.username}" if self.behalf is not None else self.by.name

    def facts(self) -> dict[str, str]:
        """Return what an audit row says of it beside reviewer and reason."""
        found = {"by_stage": self.stage.name}
        if self.behalf is not None:
            found["on_behalf_of"] = self.behalf.username
        if self.rule:
            found["rule"] = self.rule
        return found


def session(by: Principal, request: Request) -> Session:
    """Return the session in which `by` decides the open stage of `request`, which it locks.

    Raises NotFound for a stranger, Forbidden for whoever has no role in the review and `own_request` for who asked,
    Conflict `already_decided` when the request or the caller's stage is done, `stage_waiting` when it is not open yet,
    and `one_person_one_stage`.
    """
    standing = Standing.of(by)
    current = Request.objects.select_for_update().get(pk=request.pk)
    stages = keeping.of(current)
    words = {stage.pk: split(tokens(current, keeping.roles_now(stage))) for stage in stages}
    if not standing.could(words.values(), current.project_id) and not _decides(standing, current):
        require(by, "decide", current)
    if builtin.is_own(by.person, current.requester_id):
        raise Forbidden("Nobody decides on an own request. Ask another reviewer.", code=OWN)
    if current.state != RequestState.SUBMITTED:
        raise Conflict(
            f"{current} is {current.get_state_display().lower()} already; there is nothing left to decide.",
            code="already_decided",
        )
    stage = open_stage(current, stages)
    said = list(Decision.objects.filter(request=current, submission=current.submission))
    used = frozenset(str(pk) for one in said for pk in (one.reviewer_id, one.on_behalf_of_id) if pk is not None)
    seat = standing.seat(current, words[stage.pk], used, barring(current))
    if isinstance(seat, Seat):
        acting = replace(by, groups=seat.principal.groups, roles=seat.principal.roles, presets=seat.principal.presets)
        return Session(by, acting if seat.behalf else by, seat.behalf, current, stage, stages, used)
    raise _refused(standing, current, stages, stage, said, seat, words)


def rule_session(request: Request, rule: str) -> Session:
    """Return the session in which a rule passes every stage of `request`; raises Conflict `needs_a_person` when a stage
    takes a person or somebody has decided in it, and `already_decided`.
    """
    current = Request.objects.select_for_update().get(pk=request.pk)
    if current.state != RequestState.SUBMITTED:
        raise Conflict(f"{current} is {current.get_state_display().lower()} already.", code="already_decided")
    stages = keeping.of(current)
    human = next((stage for stage in stages if stage.human), None)
    if human is not None:
        raise Conflict(f"The stage {human.name} of {current} takes a person.", code="needs_a_person")
    if Decision.objects.filter(request=current, submission=current.submission).exists():
        raise Conflict(f"Somebody has begun to decide on {current}.", code="needs_a_person")
    by = machine.principal()
    return Session(by, machine.acting(), None, current, open_stage(current, stages), stages, frozenset(), rule)


def may_decide(by: Principal, request: Request, standing: Standing | None = None) -> bool:
    """Whether `by` may decide `request` as it stands now: for templates, the same rule as the services.

    One query for the delegations, unless the `standing` is known already. A request that does not wait: whether it
    would be theirs by role.
    """
    if not by.is_authenticated or builtin.is_own(by.person, request.requester_id or 0):
        return False
    held = standing or Standing.of(by)
    return held.decides(request) if request.state == RequestState.SUBMITTED else _decides(held, request)


def open_stage(request: Request, stages: list[Stage]) -> Stage:
    """Return the stage whose turn it is; raises Conflict `no_stage` where a submitted request has none."""
    found = next((stage for stage in stages if stage.state == StageState.OPEN), None)
    if found is None:
        raise Conflict(f"No stage of {request} is open. Ask for a new submission.", code="no_stage")
    return found


def barring(request: Request) -> Barred:
    """Return who must not decide `request`, themselves or through a delegate: who asked; who proposed what is to be let
    in; whom a waiver concerns; and who is behind the application that did one of that (at most three queries more).
    """
    asked = behind(request.requester.username) if request.requester.is_service else frozenset[int]()
    meant = frozenset[int]()
    if request.kind == RequestKind.WAIVER:
        meant = behind(str(request.plan.get("about", {}).get("requester", "")))
    elif (version := proposal(request)) is not None and version.proposed_by is not None:
        meant = behind(version.proposed_by.username)

    def barred(person: User) -> Refusal | None:
        if builtin.is_own(person, request.requester_id):
            return Refusal("barred", f"{request} was asked by {person.username}, for whom nobody decides it.", OWN)
        if person.pk in asked:
            return Refusal("barred", f"{request} was asked by an application of {person.username}.", OWN)
        if own_proposal(request, person):
            return Refusal("barred", "Nobody decides on an own proposal. Ask another reviewer.", OWN)
        words = judging.barred(person, request)
        if words:
            return Refusal("barred", words, "own_waiver")
        if person.pk in meant:
            code = "own_waiver" if request.kind == RequestKind.WAIVER else OWN
            return Refusal("barred", f"An application of {person.username} asked for what {request} is about.", code)
        return None

    return barred


def _decides(standing: Standing, request: Request) -> bool:
    return any(can(one, "decide", request) for one in standing.principals)


def _refused(
    standing: Standing,
    current: Request,
    stages: list[Stage],
    stage: Stage,
    said: list[Decision],
    refusal: Refusal,
    words: dict[int, frozenset[str]],
) -> Forbidden | Conflict:
    """Return why a person who reviews in general does not decide this stage now."""
    me = standing.by.person.pk
    if refusal.why == "barred":
        return Forbidden(refusal.sentence, code=refusal.code)
    if refusal.why == "used":
        mine = next((one for one in said if me in (one.reviewer_id, one.on_behalf_of_id)), None)
        if mine is not None and mine.stage_id == stage.pk:
            return Conflict(
                f"You said yes to {current} already; the stage {stage.name} takes {stage.count} different people.",
                code="already_decided",
            )
        return Conflict(
            f"One person decides one stage of a request: you, or who lets you decide for them, said yes to an earlier "
            f"stage of {current}. Somebody else decides {stage.name}.",
            code="one_person_one_stage",
        )
    roles = ", ".join(keeping.roles_now(stage)).replace("-", " ")
    done = next(
        (
            one
            for one in stages
            if one.state == StageState.PASSED and standing.could([words[one.pk]], current.project_id)
        ),
        None,
    )
    if done is not None:
        return Conflict(
            f"The stage {done.name} of {current} is passed already; now it waits for {roles}.", code="already_decided"
        )
    later = [words[one.pk] for one in stages if one.state == StageState.WAITING]
    if standing.could(later, current.project_id):
        return Conflict(f"Your stage of {current} is not open yet; it waits for {roles}.", code="stage_waiting")
    return Forbidden(f"The stage {stage.name} of {current} is for {roles}.")
