"""Stages: in order, as many people as asked, one person in one of them, and nothing happens before the last yes."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from approvals import services
from approvals.deciding import approve_by_rule
from approvals.models import Choice, Decision, Request, RequestState, Stage, Submission
from approvals.representation import requests_json, with_all
from approvals.stages.reading import waiting_for
from approvals.timeline import timeline
from audit.models import Row
from endpoints.models import Endpoint
from portal.errors import Conflict, Forbidden, GatehouseError
from projects.models import Notification
from tests.approvals.stage_kit import ENGINEERS, LEADS, by, publish, states
from tests.conftest import Org
from tests.factories import make_endpoint, make_request

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def code(call: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(GatehouseError) as caught:
        call(*args, **fields)
    return caught.value.code


def waits(*people: Any) -> list[bool]:
    return [waiting_for(by(person)).exists() for person in people]


def test_without_stages_one_reviewer_decides(org: Org) -> None:
    """The stage for everything: whoever decides requests."""
    publish()
    made = make_request(org.dana)
    assert states(made) == ["open"] and Submission.objects.get().plan_digest == made.plan_digest
    assert waits(org.pat, org.yasmine, org.dana, org.omar, org.aud) == [True, True, False, False, False]
    assert services.approve(by(org.pat), made).state == RequestState.APPROVED
    assert states(made) == ["passed"] and waits(org.pat, org.yasmine) == [False, False]
    assert Submission.objects.get().closed_at is not None


def test_two_stages_in_order(org: Org) -> None:
    """The second cannot begin before the first; nothing is opened before the last yes."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    assert states(made) == ["open", "waiting"] and waits(org.pat, org.yasmine) == [True, False]
    assert code(services.approve, by(org.yasmine), made) == "stage_waiting"
    half = services.approve(by(org.pat), made, reason="Room is there.")
    assert half.state == RequestState.SUBMITTED and states(made) == ["passed", "open"]
    assert not Endpoint.objects.exists() and waits(org.pat, org.ravi, org.yasmine) == [False, False, True]
    assert Notification.objects.filter(person=org.yasmine, kind="request.submitted").count() == 1
    assert code(services.approve, by(org.ravi), made) == "already_decided"
    done = services.approve(by(org.yasmine), made)
    assert (
        done.state == RequestState.APPROVED and states(made) == ["passed", "passed"] and Endpoint.objects.count() == 1
    )
    assert [one.stage.name for one in done.decisions.all() if one.stage] == ["Platform review", "Governance review"]
    actions = list(Row.objects.filter(object_kind="request").order_by("id").values_list("action", flat=True))
    assert actions[-2:] == ["approvals.pass_stage", "approvals.approve"]
    told = [(line.code, line.by) for line in timeline(done) if line.code in {"stage_passed", "approved"}]
    assert told == [("stage_passed", "pat"), ("approved", "yasmine")]


def test_a_stage_takes_several_people(org: Org) -> None:
    """Two of them: the same person once only."""
    publish(ENGINEERS | {"count": 2})
    made = make_request(org.dana)
    assert services.approve(by(org.pat), made).state == RequestState.SUBMITTED and states(made) == ["open"]
    assert code(services.approve, by(org.pat), made) == "already_decided"
    made.refresh_from_db()
    assert waits(org.pat, org.ravi) == [False, True] and not services.may_decide(by(org.pat), made)
    assert services.approve(by(org.ravi), made).state == RequestState.APPROVED


def test_one_person_decides_one_stage(org: Org) -> None:
    """Who is both engineer and lead passes one of the two, and does not end the other."""
    publish(ENGINEERS, LEADS)
    org.yasmine.groups.add(*org.pat.groups.all())
    made = make_request(org.dana)
    services.approve(by(org.yasmine), made)
    for verb in services.DECISIONS.values():
        assert code(verb, by(org.yasmine), made, reason="again") == "one_person_one_stage"
    assert waits(org.yasmine) == [False] and states(made) == ["passed", "open"]
    org.ravi.groups.add(*org.yasmine.groups.all())
    assert services.approve(by(org.ravi), made).state == RequestState.APPROVED


@pytest.mark.parametrize("verb", ["reject", "request_changes"])
def test_a_no_in_any_stage_ends_it(org: Org, verb: str) -> None:
    """The others are closed; what was sent anew begins at the first stage."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    services.approve(by(org.pat), made)
    ended = services.DECISIONS[verb](by(org.yasmine), made, reason="No purpose.")
    assert states(made) == ["passed", "closed"] and waits(org.pat, org.yasmine) == [False, False]
    assert code(services.approve, by(org.yasmine), ended) == "already_decided"
    shown = requests_json(by(org.pat), with_all(Request.objects.all()))[0]["stages"]
    assert [one["state"] for one in shown[:2]] == ["approved", ended.state]
    if verb == "request_changes":
        again = services.submit(by(org.dana), services.change(by(org.dana), made, made.body | {"replicas": 2}))
        assert states(again) == ["open", "waiting"] and waits(org.pat) == [True]
        assert Stage.objects.filter(request=made).count() == 4 and Submission.objects.count() == 2


def test_withdrawn_closes_the_stages(org: Org) -> None:
    """Nobody is asked any more."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana, state="withdrawn")
    assert states(made) == ["closed", "closed"] and waits(org.pat) == [False]
    assert code(services.approve, by(org.pat), made) == "already_decided"


def test_a_role_that_is_not_asked(org: Org) -> None:
    """A lead does not decide what is for engineers only, and reads why."""
    publish(ENGINEERS)
    made = make_request(org.dana)
    with pytest.raises(Forbidden, match=r"Platform review of R-.* is for platform engineers"):
        services.approve(by(org.yasmine), made)
    assert not services.may_decide(by(org.yasmine), made) and waits(org.yasmine) == [False]


def test_an_owner_of_the_own_project(org: Org) -> None:
    """A rule may ask the project's owner, too; the owner never decides an own request."""
    publish({"id": "budget", "name": "Budget", "roles": ["owner"], "order": 5}, ENGINEERS)
    made = make_request(org.dana)
    assert waits(org.omar, org.cy, org.pat) == [True, False, False]
    services.approve(by(org.omar), made)
    assert states(made) == ["passed", "open"] and services.approve(by(org.pat), made).state == RequestState.APPROVED
    own = make_request(org.omar)
    assert code(services.approve, by(org.omar), own) == "own_request" and waits(org.omar) == [False]


def test_access_is_first_the_owners_to_give(org: Org) -> None:
    """Without a stage of its own: an owner of the endpoint's project, or the platform."""
    publish()
    endpoint = make_endpoint(org.cy, project="search-ranking")
    Endpoint.objects.filter(pk=endpoint.pk).update(shareable=True)
    made = make_request(org.dana, kind="access", endpoint=endpoint)
    assert made.waiting_roles == ["governance-leads", "owner", "platform-engineers"]
    assert waits(org.cy, org.omar, org.pat) == [True, False, True]
    assert services.approve(by(org.cy), made).state == RequestState.APPROVED


def test_rules_that_ask_for_more_make_the_plan_stale(org: Org) -> None:
    """A stage that the frozen plan lacks, more people, fewer roles; fewer stages are no harm."""
    publish(ENGINEERS)
    made = make_request(org.dana)
    for more in ((ENGINEERS, LEADS), (ENGINEERS | {"count": 2},), (LEADS | {"id": "platform"},)):
        publish(*more)
        assert code(services.approve, by(org.pat), made) == "plan_stale"
    assert states(made) == ["open"] and not Decision.objects.exists()
    publish()
    assert services.approve(by(org.pat), made).state == RequestState.APPROVED


def test_one_changed_field_makes_approval_refuse(org: Org) -> None:
    """Body, plan, digest, what was sent, a stage's roles or number of people: each is noticed, whoever decides."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    sent, first = Submission.objects.filter(request=made), Stage.objects.filter(request=made, position=1)
    mine = Request.objects.filter(pk=made.pk)
    lies: list[tuple[Any, dict[str, Any]]] = [
        (mine, {"body": made.body | {"replicas": 7}}),
        (mine, {"plan": made.plan | {"document": {}}}),
        (mine, {"plan": made.plan | {"stages": made.plan["stages"][:1]}}),
        (mine, {"plan_digest": "sha256:0"}),
        (sent, {"plan": {}}),
        (first, {"roles": ["governance-leads", "platform-engineers"]}),
        (first, {"human": True}),
        (Stage.objects.filter(request=made, position=2), {"count": 3}),
    ]
    for rows, lie in lies:
        truth = {name: getattr(rows.get(), name) for name in lie}
        rows.update(**lie)
        assert code(services.approve, by(org.pat), made) == "plan_tampered", lie
        rows.update(**truth)
    assert not Endpoint.objects.exists() and services.approve(by(org.pat), made).state == RequestState.SUBMITTED


def test_the_record_of_a_decision(org: Org) -> None:
    """Bundle, inputs, verdicts and evidence as of the decision."""
    made = make_request(org.dana, state="approved")
    said = Decision.objects.get(request=made)
    assert said.bundle_digest == made.plan["bundle"]["digest"] and said.inputs["request"]["name"] == made.name
    assert {one["id"] for one in said.verdicts} == {one["id"] for one in made.plan["checks"]}


def test_approved_by_rule(org: Org) -> None:
    """All stages at once, by an account that nobody signs in with; its row and its record say which rule."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    done = approve_by_rule(made, rule="auto-003", why="Small and internal.")
    assert done.state == RequestState.APPROVED and states(made) == ["passed", "passed"] and Endpoint.objects.exists()
    said = Decision.objects.get()
    assert (said.via, said.rule, said.reviewer.username, said.reviewer.is_service) == ("rule", "auto-003",
                                                                                      "policy-rules", True)  # fmt: skip
    assert not said.reviewer.has_usable_password() and said.bundle_digest
    row = Row.objects.filter(action="approvals.approve").get()
    assert row.actor == f"user:{said.reviewer.public_id}" and '"rule":"auto-003"' in row.after
    assert [line.sentence for line in timeline(done) if line.code == "approved"] == ["Approved by the rule auto-003."]
    assert [one["by"] for one in requests_json(by(org.pat), with_all(Request.objects.all()))[0]["stages"][:2]] == [
        ["the rule auto-003"], ["the rule auto-003"],
    ]  # fmt: skip
    assert approve_by_rule(make_request(org.dana), rule="auto-003", why="").decisions.get().reviewer == said.reviewer


def test_a_rule_does_not_pass_what_takes_a_person(org: Org) -> None:
    """Nor what somebody has begun to decide."""
    publish(ENGINEERS, LEADS | {"human": True})
    made = make_request(org.dana)
    assert code(approve_by_rule, made, rule="auto-003", why="") == "needs_a_person"
    publish(ENGINEERS, LEADS)
    begun = make_request(org.dana)
    services.approve(by(org.pat), begun)
    assert code(approve_by_rule, begun, rule="auto-003", why="") == "needs_a_person"
    assert states(begun) == ["passed", "open"] and not Endpoint.objects.exists()


def test_a_person_with_the_name_of_the_rules(org: Org) -> None:
    """No rule decides in a person's name."""
    org.vic.username = "policy-rules"
    org.vic.save()
    made = make_request(org.dana)
    with pytest.raises(Conflict, match="belongs to a person"):
        approve_by_rule(made, rule="auto-003", why="")


def test_the_database_holds_the_stage_to_its_request(org: Org) -> None:
    """A decision in a stage of another request is refused."""
    first, second = make_request(org.dana), make_request(org.dana)
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(
            request=first, requester=org.dana, reviewer=org.pat, submission=1, decision=Choice.APPROVE,
            stage=second.stages.get(),
        )  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():  # two open stages
        Stage.objects.create(request=first, submission=1, position=2, rule="x", name="x", state="open")
