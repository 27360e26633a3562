"""Random walks: everybody does everything in any order, and what must never happen never does.

No state that its ARROWS do not allow, nobody decides for themselves in any way, every change leaves its audit row and a
refusal leaves none, and the GPUs that are held are those of what is approved, lives and is not suspended.
"""

import datetime as dt
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from approvals import services
from approvals.deciding import approve_by_rule
from approvals.models import Choice, Decision, Delegation, Request, RequestState, Stage, StageState, Waiver
from approvals.stages import assigning, delegating
from approvals.stages.escalating import escalate
from audit.models import Row
from endpoints import reconcile
from endpoints import services as endpoint_services
from endpoints.models import Desired, Endpoint
from portal.errors import GatehouseError
from projects.models import User
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from tests import factories
from tests.approvals.stage_kit import ENGINEERS, LEADS, lend, publish
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, Script, work

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

NAMES = ("dana", "omar", "vic", "pat", "ravi", "yasmine", "aud", "cy")
ASKERS = ("dana", "omar", "pat", "pat", "yasmine", "yasmine", "vic")  # the last may not
REVIEWERS = ("pat", "ravi", "yasmine", "omar", "cy", "vic")  # the last two for pat and yasmine, who ask, too
MINE = ("draft", "changes_requested")
SLOW = {"escalate_after_hours": 1, "escalate_to": ["governance-leads"]}
OWNER = {"id": "budget", "name": "Budget", "roles": ["owner"], "order": 5}
TOO_BIG = {
    "id": "big-001", "title": "At most two replicas", "severity": "deny", "applies_to": "request",
    "kinds": ["endpoint"], "expression": "request.replicas <= 2", "message": "{request.replicas} replicas.",
    "fix": "Ask for fewer.", "field": "replicas", "waivable": True,
    "tests": [
        {"name": "two", "given": {"request": {"replicas": 2}}, "expect": "pass"},
        {"name": "three", "given": {"request": {"replicas": 3}}, "expect": "fail"},
    ],
}  # fmt: skip
BUNDLES: tuple[tuple[dict[str, Any], ...], ...] = (
    (),
    (ENGINEERS | SLOW, LEADS),
    (ENGINEERS | {"count": 2},),
    (OWNER, ENGINEERS | SLOW),
    ({"id": "any", "name": "Anybody", "roles": ["platform-engineers", "governance-leads"], "count": 2}, LEADS),
)
ACTIONS = {  # what a success must leave in the audit log
    "draft": {"approvals.draft"}, "change": {"approvals.change"}, "submit": {"approvals.submit"},
    "withdraw": {"approvals.withdraw"}, "comment": {"approvals.comment"}, "assign": {"approvals.assign"},
    "delegate": {"approvals.delegate"}, "revoke": {"approvals.revoke_delegation"},
    "approve": {"approvals.approve", "approvals.pass_stage", "approvals.endorse"}, "reject": {"approvals.reject"},
    "request_changes": {"approvals.request_changes"}, "by_rule": {"approvals.approve"},
    "escalate": {"approvals.escalate"}, "suspend": {"endpoints.suspend"}, "resume": {"endpoints.resume"},
    "delete": {"endpoints.delete"},
}  # fmt: skip


class Portal(RuleBasedStateMachine):
    """One portal, eight people. `org`, `stack` and the rest are set by the test."""

    org: Org

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.atomic = transaction.atomic()
        self.stack.enter_context(self.atomic)
        cache.clear()
        self.seen: dict[int, str] = {}
        self.step, self.dirty = 0, True

    def teardown(self) -> None:
        """Nothing of a walk is left for the next one."""
        transaction.set_rollback(True)
        self.stack.close()

    @initialize(which=st.sampled_from(range(len(BUNDLES))))
    def open(self, which: int) -> None:
        """A pool of three GPUs, one model, and the stages of one of the bundles; two reviewers are members, too."""
        publish(*BUNDLES[which], rules=[TOO_BIG], bare=True)
        self.version, self.profile = factories.make_version(), factories.make_profile(gpus=1)
        factories.make_cluster()
        factories.make_pool(limit=3, profiles=[self.profile])
        for name in ("pat", "yasmine"):
            self.org.fraud.memberships.create(user=getattr(self.org, name), role="developer")
        lend(self.org.pat, self.org.cy)
        lend(self.org.yasmine, self.org.vic)

    # --- What people do ----------------------------------------------------------------------------------------------

    def by(self, name: str) -> Principal:
        """The session of a person."""
        return Principal.of(User.objects.get(username=name))

    @rule(luck=st.integers(0, 2**16))
    def turn(self, luck: int) -> None:
        """Somebody does something. One rule, since hypothesis leaves whole rules out of a walk; the step is part of the
        luck, so that a walk is varied also where the numbers repeat, and the same when it is replayed.
        """
        self.step += 1
        dice = random.Random(f"{luck}.{self.step}")
        dice.choice([self.ask, self.ask, self.decide, self.decide, self.arrange, self.operate])(dice)

    def one(self, dice: random.Random, *states: str) -> Request | None:
        """One of the requests in `states`, now and then of the others."""
        rows = Request.objects.order_by("pk")
        found = list(rows if dice.random() < 0.1 else rows.filter(state__in=states))
        return dice.choice(found) if found else None

    def act(self, verb: str, call: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        """Do it: a success leaves one of its rows, a refusal leaves nothing at all."""
        before, mark = Row.objects.count(), Row.objects.order_by("-id").values_list("id", flat=True).first() or 0
        states = dict(Request.objects.values_list("pk", "state"))
        try:
            done = call(*args, **fields)
        except GatehouseError:
            assert Row.objects.count() == before, f"a refused {verb} left a row"
            assert dict(Request.objects.values_list("pk", "state")) == states, f"a refused {verb} changed a state"
            return None
        self.dirty = True
        new = set(Row.objects.filter(id__gt=mark).values_list("action", flat=True))
        changed = dict(Request.objects.values_list("pk", "state")) != states
        assert new & ACTIONS[verb] or not (changed or new), f"{verb} left {sorted(new)}"
        return done

    def ask(self, dice: random.Random) -> None:
        """Somebody drafts, changes, sends, takes back, or asks for an exception; mostly who may."""
        verb = dice.choice(
            ["send", "send", "send", "draft", "change", "submit", "submit", "withdraw", "waive", "waive"]
        )
        name = dice.choice(ASKERS)
        if verb in ("send", "draft"):
            body = factories.request_body(
                asset=self.version.asset.slug, hardware_profile=self.profile.slug, replicas=dice.choice([1, 1, 2, 3])
            )
            made = self.act("draft", services.draft, self.by(name), body)
            if made is not None and verb == "send":
                self.act("submit", services.submit, self.by(name), made)
            return
        states = {"change": MINE, "submit": MINE, "withdraw": ("submitted",), "waive": ("draft",)}[verb]
        request = self.one(dice, *states)
        if request is None:
            return
        who = self.by(request.requester.username if dice.random() < 0.8 else name)
        if verb == "change":
            self.act(verb, services.change, who, request, request.body | {"replicas": dice.choice([1, 2, 3])})
        elif verb == "waive":
            self.act("submit", services.send, who, _waiver(request, dice.choice(NAMES)))
        else:
            self.act(verb, getattr(services, verb), who, request)

    def decide(self, dice: random.Random) -> None:
        """Up to three people decide on one request, or a rule does."""
        request = self.one(dice, "submitted")
        if request is None:
            return
        if dice.random() < 0.05:
            self.act("by_rule", approve_by_rule, request, rule="auto-001", why="Small.")
            return
        for _ in range(3):
            verb = dice.choice(["approve"] * 8 + ["reject", "request_changes"])
            name = dice.choice(REVIEWERS if dice.random() < 0.8 else NAMES)
            self.act(verb, services.DECISIONS[verb], self.by(name), request, reason="For a reason.")

    def arrange(self, dice: random.Random) -> None:
        """People talk, ask each other, and decide for each other; time passes."""
        verb = dice.choice(["comment", "assign", "delegate", "delegate", "revoke", "escalate"])
        name, other = dice.choice(NAMES), dice.choice(NAMES)
        request = self.one(dice, "submitted")
        if verb == "delegate":
            ends_on = timezone.now().date() + dt.timedelta(days=dice.randint(-1, 9))
            lender = self.by(dice.choice(REVIEWERS))
            self.act(verb, delegating.delegate, lender, to=other, ends_on=ends_on, reason="Away.")
        elif verb == "escalate":
            self.act(verb, escalate, timezone.now() + dt.timedelta(hours=dice.choice([0, 1, 200])))
        elif verb == "revoke":
            found = list(Delegation.objects.filter(revoked_at=None))
            if found:
                one = dice.choice(found)
                self.act(verb, delegating.revoke, self.by(dice.choice([name, one.delegate.username])), one)
        elif request is not None and verb == "comment":
            self.act(verb, services.comment, self.by(name), request, f"@{other}, please.")
        elif request is not None:
            self.act(verb, assigning.assign, self.by(dice.choice(REVIEWERS)), request, to=other)

    def operate(self, dice: random.Random) -> None:
        """Somebody suspends, resumes or deletes an endpoint, and a worker follows."""
        found = list(Endpoint.objects.order_by("created_at", "pk"))
        if not found:
            return
        endpoint, verb = dice.choice(found), dice.choice(["suspend", "suspend", "resume", "delete"])
        who = self.by(dice.choice(["dana", "omar", "pat", *NAMES]))
        if self.act(verb, getattr(endpoint_services, verb), who, endpoint):
            work(endpoint)  # the worker that got the nudge: the engines are gone now

    # --- What must never be ------------------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        """Looked at after every step that did something."""
        if self.dirty:
            self.only_arrows()
            self.nobody_decides_for_themselves()
            self.stages_tell_the_truth()
            self.held_is_approved_living_and_not_suspended()
            self.dirty = False

    def only_arrows(self) -> None:
        """No request goes where its ARROWS do not lead."""
        now = dict(Request.objects.values_list("pk", "state"))
        for pk, state in now.items():
            before = self.seen.get(pk, RequestState.DRAFT)
            assert _reachable(before, state), f"R-{pk} went from {before} to {state}"
        self.seen = now

    def nobody_decides_for_themselves(self) -> None:
        """Neither by hand, nor for somebody, nor through somebody, nor twice; and only with a role of the stage."""
        said: dict[tuple[int, int], list[int]] = {}
        rows = Decision.objects.select_related("stage", "request__requester", "reviewer", "on_behalf_of")
        for one in rows:
            people = [one.reviewer, *([one.on_behalf_of] if one.on_behalf_of else [])]
            assert one.request.requester not in people, f"{one.reviewer} decided an own request"
            said.setdefault((one.request_id, one.submission), []).extend(person.pk for person in people)
            if not one.rule:
                assert one.stage is not None and _has_role(people[-1], one.stage), f"{people[-1]} has no role"
        for people_ in said.values():
            assert len(people_) == len(set(people_)), "a person or an authority counted twice"
        for waiver in Waiver.objects.select_related("request"):
            beneficiary = waiver.request.requester_id if waiver.request else None
            assert waiver.approved_by_id not in (waiver.requested_by_id, waiver.owner_id, beneficiary)

    def stages_tell_the_truth(self) -> None:
        """What waits has one open stage and says so; what is approved passed them all, by as many as they ask for."""
        for request in Request.objects.prefetch_related("stages"):
            mine = [stage for stage in request.stages.all() if stage.submission == request.submission]
            open_ = [stage for stage in request.stages.all() if stage.state in (StageState.OPEN, StageState.WAITING)]
            if request.state != RequestState.SUBMITTED:
                assert not open_ and request.waiting_on == "" and request.assignee_id is None
            else:
                assert [one.state for one in open_][:1] == [StageState.OPEN] and request.waiting_on
            if request.state == RequestState.APPROVED:
                assert all(stage.state == StageState.PASSED for stage in mine) and mine
                assert all(_enough(stage) for stage in mine), f"{request} was approved by too few"

    def held_is_approved_living_and_not_suspended(self) -> None:
        """The pool's counter, its reservations, and the endpoints that may hold them."""
        holders = set(Reservation.objects.exclude(state=ReservationState.RELEASED).values_list("holder_id", flat=True))
        approved = Request.objects.filter(state=RequestState.APPROVED, kind="endpoint").values("endpoint")
        living = Endpoint.objects.filter(pk__in=approved, desired=Desired.RUNNING)
        assert holders == {str(pk) for pk in living.values_list("pk", flat=True)}
        for pool in Pool.objects.all():
            held = pool.reservations.filter(state=ReservationState.HELD).aggregate(total=Sum("amount"))["total"] or 0
            assert pool.held == held <= pool.limit
        assert Endpoint.objects.count() == Request.objects.filter(state=RequestState.APPROVED, kind="endpoint").count()


def _waiver(request: Request, owner: str) -> dict[str, Any]:
    return {
        "kind": "waiver", "request": request.pk, "check": "big-001", "purpose": "A load test.", "owner": owner,
        "compensating_control": "We watch it.",
        "ends_on": (timezone.now().date() + dt.timedelta(days=9)).isoformat(),
    }  # fmt: skip


def _reachable(source: str, target: str) -> bool:
    """Whether `target` is `source`, or may follow it within one action that sends and decides at once."""
    arrows = Request.ARROWS["state"]
    following = arrows.get(source, frozenset())
    return target == source or target in following or any(target in arrows.get(one, ()) for one in following)


def _has_role(person: User, stage: Stage) -> bool:
    roles = {*stage.roles, *(stage.escalate_to if stage.escalated_at else [])}
    if person.groups.filter(name__in=roles).exists():
        return True
    return "owner" in roles and person.memberships.filter(project=stage.request.project, role="owner").exists()


def _enough(stage: Stage) -> bool:
    yes = Decision.objects.filter(request=stage.request, submission=stage.submission, decision=Choice.APPROVE)
    return yes.exclude(rule="").exists() or yes.filter(stage=stage).count() >= stage.count


def test_random_walks(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight walks of thirty steps."""
    script = Script()
    monkeypatch.setattr(reconcile, "driver_for", lambda cluster: script)
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    run_state_machine_as_test(
        type("Walk", (Portal,), {"org": org}),
        settings=settings(
            max_examples=8, stateful_step_count=30, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
