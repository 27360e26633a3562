"""What envelopes say when a request is sent: recorded always, carried out when they are live."""

from typing import Any

import pytest

from approvals import deciding, services
from approvals.models import Decision, Mode, Reading, Request, RequestState, Verdict
from audit.models import Row
from endpoints.models import Endpoint
from portal.errors import Conflict
from projects.models import Membership, User
from tests.approvals.envelopes.kit import DEV, SMALL, publish, switch
from tests.conftest import Org
from tests.factories import engineer, make_pool, make_profile, make_request, make_version

pytestmark = pytest.mark.slow


def said(request: Request, rule: str = "auto-dev") -> Verdict:
    return Verdict.objects.get(request=request, submission=request.submission, rule=rule)


def ask(who: User, **fields: Any) -> Request:
    made: Request = make_request(who, **fields)
    return made


def test_shadow_records_and_leaves_the_request_to_people(org: Org) -> None:
    publish(DEV)
    made = ask(org.dana)
    verdict = said(made)
    assert (verdict.mode, verdict.approves) == (Mode.SHADOW, True)
    assert made.state == RequestState.SUBMITTED and not Endpoint.objects.exists()


def test_live_opens_the_endpoint_in_the_same_transaction_with_its_record(org: Org) -> None:
    publish(DEV)
    switch("live")
    made = ask(org.dana)
    assert made.state == RequestState.APPROVED and made.endpoint is not None and made.endpoint.revision is not None
    decision = Decision.objects.get(request=made)
    assert decision.rule == "auto-dev" and decision.bundle_digest and decision.inputs["request"]["environment"] == "dev"
    assert decision.reviewer.is_service and decision.reviewer != org.dana
    assert decision.plan_digest == made.plan_digest == made.endpoint.revision.authorization_digest
    assert said(made).mode == Mode.LIVE and said(made).approves
    assert Row.objects.filter(action="approvals.approve", object_id=str(made.pk)).count() == 1
    waiting = [row.kind for row in org.pat.notifications.all()]
    assert "request.submitted" not in waiting  # nobody is asked for what is decided
    assert "request.approved" in [row.kind for row in org.dana.notifications.all()]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"environment": "prod", "replicas": 2}, "condition does not hold"),
        ({"environment": "dev", "data_classification": "restricted"}, "warns"),
    ],
)
def test_it_leaves_to_people_what_is_outside_or_warns(org: Org, fields: dict[str, Any], words: str) -> None:
    publish(DEV)
    switch("live")
    made = ask(org.dana, **fields)
    assert made.state == RequestState.SUBMITTED
    assert not said(made).approves and words in said(made).why


def test_it_decides_nothing_for_who_let_it_decide(org: Org) -> None:
    """A lead who also builds would approve their own request by way of the rule."""
    publish(DEV)
    switch("live")
    Membership.objects.create(project=org.fraud, user=org.yasmine, role="developer")
    made = ask(org.yasmine)
    assert made.state == RequestState.SUBMITTED
    assert not said(made).approves and "yasmine let this rule decide" in said(made).why
    assert ask(org.dana).state == RequestState.APPROVED


def test_it_leaves_to_people_what_must_wait_for_room(org: Org) -> None:
    publish(DEV)
    switch("live")
    profile = make_profile(gpus=1)
    make_pool(limit=1, profiles=[profile])
    first, second = ask(org.dana, profile=profile), ask(org.dana, profile=profile)
    assert first.state == RequestState.APPROVED and second.state == RequestState.SUBMITTED
    assert "room" in said(second).why


def test_a_stage_that_needs_a_person_is_never_passed_by_a_rule(org: Org) -> None:
    stage = {
        "id": "people", "name": "Four eyes", "when": "true", "reason": "Always.", "roles": ["platform-engineers"],
        "human": True,
    }  # fmt: skip
    publish(DEV, stages=[stage])
    switch("live")
    made = ask(org.dana)
    assert made.state == RequestState.SUBMITTED and "Four eyes needs a person" in said(made).why


def test_an_expression_that_errs_approves_nothing(org: Org) -> None:
    publish(DEV | {"when": "tools[7].name == 'none'"})
    switch("live")
    made = ask(org.dana)
    assert made.state == RequestState.SUBMITTED and not said(made).approves


def test_another_text_begins_in_shadow_again(org: Org) -> None:
    publish(DEV)
    switch("live")
    publish(DEV | {"when": "true"})
    made = ask(org.dana)
    assert made.state == RequestState.SUBMITTED and said(made).mode == Mode.SHADOW
    publish(DEV)  # the text that was switched on
    assert ask(org.dana).state == RequestState.APPROVED


def test_off_says_nothing_from_the_very_next_request_on(org: Org) -> None:
    publish(DEV)
    switch("live")
    assert ask(org.dana).state == RequestState.APPROVED
    switch("off")
    made = ask(org.dana)
    assert made.state == RequestState.SUBMITTED and not Verdict.objects.filter(request=made).exists()


def test_the_first_of_two_live_rules_approves(org: Org) -> None:
    publish(DEV, DEV | {"id": "auto-all", "when": "true"})
    switch("live", percent=100)
    switch("live", "auto-all", percent=100)
    made = ask(org.dana)
    assert Decision.objects.get(request=made).rule == "auto-all"
    other = said(made, "auto-dev")
    assert other.mode == Mode.SHADOW and "auto-all had approved it" in other.why and other.reading == Reading.NONE


def test_what_cannot_be_approved_waits_for_people_and_says_why(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal and a mistake of the portal alike: nothing of the approval is left, the request is sent."""
    publish(DEV)
    switch("live")

    def approve_and_fail(*args: Any, **kwargs: Any) -> Any:
        approve_by_rule(*args, **kwargs)
        raise troubles[-1]

    approve_by_rule, troubles = deciding.approve_by_rule, list[Exception]()
    monkeypatch.setattr(deciding, "approve_by_rule", approve_and_fail)
    for trouble, words in ((Conflict("No cluster."), "No cluster."), (RuntimeError("boom"), "made a mistake")):
        troubles.append(trouble)
        made = ask(org.dana)
        assert made.state == RequestState.SUBMITTED and not Decision.objects.filter(request=made).exists()
        assert made.endpoint is None and not Endpoint.objects.filter(requests=made).exists()
        assert not said(made).approves and words in said(made).why and "boom" not in said(made).why


def test_each_submission_is_judged_once(org: Org) -> None:
    from approvals import envelopes

    publish(DEV)
    made = ask(org.dana)
    envelopes.submitted(made, made.plan)
    assert Verdict.objects.filter(request=made).count() == 1
    services.request_changes(engineer(), made, reason="Smaller.")
    switch("live")
    by = org.principal(org.dana)
    again = services.submit(by, services.change(by, made, made.body | {"concurrency": 2}))
    assert again.state == RequestState.APPROVED
    assert [row.submission for row in Verdict.objects.filter(request=made).order_by("id")] == [1, 2]


def test_a_waived_check_is_for_people(org: Org) -> None:
    """An exception was granted: somebody looks at what it is used for."""
    from tests.approvals.waivers.kit import waived_draft

    publish(DEV, rules=[SMALL])
    switch("live")
    draft = waived_draft(org, concurrency=8)
    made = services.submit(org.principal(org.dana), draft)
    assert made.state == RequestState.SUBMITTED and "is waived" in said(made).why


@pytest.mark.parametrize(("percent", "reading"), [(0, Reading.NONE), (100, Reading.WAITING)])
def test_a_share_is_read_later(org: Org, percent: int, reading: str) -> None:
    publish(DEV)
    switch("live", percent=percent)
    assert said(ask(org.dana)).reading == reading


def test_the_sample_is_spread_and_the_same_for_the_same_request(org: Org) -> None:
    from approvals.envelopes.submitting import sampled

    rows = [Request(pk=number, submission=1) for number in range(1, 1001)]
    drawn = [row.pk for row in rows if sampled(row, 30)]
    assert 240 < len(drawn) < 360 and drawn == [row.pk for row in rows if sampled(row, 30)]


def test_waivers_and_admissions_are_never_approved_by_rule(org: Org) -> None:
    publish(DEV | {"kinds": ["admission", "endpoint"], "when": "true"})
    switch("live")
    version = make_version("draft")
    made = services.send(
        engineer(), {"kind": "admission", "asset": version.asset.slug, "version": "1.0", "purpose": "For tests."}
    )
    assert made.state == RequestState.SUBMITTED and "never approved by a rule" in said(made).why
