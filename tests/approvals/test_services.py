"""The life of a request: every arrow, every guard, and what each leaves in the audit log."""

import datetime as dt
import json
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from approvals import plan as plans
from approvals import services
from approvals.bodies import parse
from approvals.models import Choice, Comment, Decision, Request, RequestState
from audit.models import Row
from catalog import services as catalog
from catalog.models import HardwareProfile
from endpoints.models import Cluster, Endpoint, Phase
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.principal import Principal
from quotas.models import Pool, Reservation, ReservationState
from tests.conftest import Org
from tests.factories import (
    engineer,
    lead,
    make_asset,
    make_cluster,
    make_pool,
    make_profile,
    make_request,
    make_version,
    request_body,
)

pytestmark = pytest.mark.slow


def actions(request: Request) -> list[str]:
    rows = Row.objects.filter(object_kind="request", object_id=str(request.pk)).order_by("id")
    return [row.action for row in rows]


def whole_body(**fields: Any) -> dict[str, Any]:
    """A body whose names all exist."""
    make_cluster()
    version, profile = make_version(), make_profile()
    return request_body(asset=version.asset.slug, hardware_profile=profile.slug, **fields)


def test_it_works(org: Org) -> None:
    """Asked, approved, and an endpoint stands there with the request's number and digest as its authorization."""
    made = services.send(org.principal(org.dana), whole_body(name="scoring"))
    assert (made.state, made.submission, made.name) == (RequestState.SUBMITTED, 1, "scoring")
    assert made.plan_digest == plans.freeze(parse(made.body), made.plan)
    done = services.approve(org.principal(org.pat), made, reason="Fine.")
    assert done.state == RequestState.APPROVED
    endpoint = done.endpoint
    assert endpoint is not None and endpoint.phase == Phase.PENDING and endpoint.created_by == org.dana
    assert endpoint.revision is not None
    assert endpoint.revision.authorization_reference == done.number
    assert endpoint.revision.authorization_digest == done.plan_digest
    decision = done.decisions.get()
    assert (decision.reviewer, decision.requester, decision.reason) == (org.pat, org.dana, "Fine.")
    assert decision.plan_digest == done.plan_digest and decision.plan_digest_now.startswith("sha256:")
    assert actions(done) == ["approvals.draft", "approvals.submit", "approvals.approve"]


def test_send_keeps_nothing_when_it_is_refused(org: Org) -> None:
    """A failing check leaves neither a draft nor an audit row."""
    body = whole_body()
    before = Row.objects.count()
    with pytest.raises(Invalid):
        services.send(org.principal(org.dana), body | {"asset": "nothing"})
    assert not Request.objects.exists() and Row.objects.count() == before


def test_draft_may_be_incomplete_but_names_a_project(org: Org) -> None:
    """Only the project is needed: it says who may see the draft."""
    made = services.draft(org.principal(org.dana), {"project": "fraud-detection"})
    assert made.state == RequestState.DRAFT and made.plan == {}
    with pytest.raises(Invalid) as caught:
        services.draft(org.principal(org.dana), {"name": "x"})
    assert "project" in caught.value.fields
    with pytest.raises(Invalid) as caught:
        services.submit(org.principal(org.dana), made)
    assert "asset" in caught.value.fields
    made.refresh_from_db()
    assert made.state == RequestState.DRAFT


def test_sent_back_changed_and_sent_again(org: Org) -> None:
    """The second submission has a plan and a digest of its own; the same reviewer may decide again."""
    made = make_request(org.dana, state="changes_requested")
    first = made.plan_digest
    dana = org.principal(org.dana)
    changed = services.change(dana, made, made.body | {"replicas": 2})
    assert changed.state == RequestState.CHANGES_REQUESTED and changed.plan_digest == first
    again = services.submit(dana, changed)
    assert (again.state, again.submission) == (RequestState.SUBMITTED, 2)
    assert again.plan_digest != first and again.plan["gpus"]["replicas"] == 2
    assert again.submitted_at == made.submitted_at  # the lead time runs from the first submission
    done = services.approve(engineer(), again)
    assert done.state == RequestState.APPROVED
    assert [item.submission for item in done.decisions.all()] == [1, 2]
    change = Row.objects.get(action="approvals.change")
    assert json.loads(change.before) == {"replicas": 1} and json.loads(change.after) == {"replicas": 2}


@pytest.mark.parametrize("state", ["submitted", "approved", "rejected", "withdrawn"])
def test_only_drafts_and_sent_back_ones_can_be_changed_or_sent(org: Org, state: str) -> None:
    """A frozen request stays frozen."""
    made = make_request(org.dana, state=state)
    dana = org.principal(org.dana)
    with pytest.raises(Conflict):
        services.change(dana, made, made.body | {"replicas": 3})
    with pytest.raises(Conflict):
        services.submit(dana, made)
    made.refresh_from_db()
    assert made.state == state and made.body["replicas"] == 1


def test_only_the_requester_changes_submits_and_withdraws(org: Org) -> None:
    """Another member may read it and gets 403; a stranger does not learn that it exists."""
    made = make_request(org.dana, state="draft")
    for verb in (lambda by: services.change(by, made, made.body), lambda by: services.submit(by, made)):
        with pytest.raises(Forbidden):
            verb(org.principal(org.omar))
        with pytest.raises(NotFound):
            verb(org.principal(org.cy))
    with pytest.raises(Forbidden):
        services.withdraw(org.principal(org.pat), made)


def test_withdraw_until_it_is_decided(org: Org) -> None:
    """Draft, submitted and sent back can be taken back; decided ones cannot."""
    for state in ("draft", "submitted", "changes_requested"):
        made = make_request(org.dana, state=state)
        assert services.withdraw(org.principal(org.dana), made).state == RequestState.WITHDRAWN
        assert actions(made)[-1] == "approvals.withdraw"
    for state in ("approved", "rejected", "withdrawn"):
        with pytest.raises(Conflict) as caught:
            services.withdraw(org.principal(org.dana), make_request(org.dana, state=state))
        assert caught.value.code == "already_decided"


def test_rejecting_and_asking_for_changes_need_a_reason(org: Org) -> None:
    """The requester must be able to act on it."""
    made = make_request(org.dana)
    for verb in (services.reject, services.request_changes):
        for reason in ("", "  \n ", "x" * 2001, "bell \x07"):
            with pytest.raises(Invalid) as caught:
                verb(org.principal(org.pat), made, reason=reason)
            assert "reason" in caught.value.fields
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED and not made.decisions.exists()


def test_who_decides(org: Org) -> None:
    """Platform engineers and governance leads; members and auditors read, strangers see nothing."""
    made = make_request(org.dana)
    for person in (org.omar, org.vic, org.aud):
        with pytest.raises(Forbidden):
            services.approve(org.principal(person), made)
    with pytest.raises(NotFound):
        services.approve(org.principal(org.cy), made)
    assert services.approve(org.principal(org.yasmine), made).state == RequestState.APPROVED


def test_nobody_decides_on_an_own_request(org: Org) -> None:
    """A platform engineer who is a member may ask, and may not answer."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    made = make_request(org.pat)
    for verb in services.DECISIONS.values():
        with pytest.raises(Forbidden) as caught:
            verb(org.principal(org.pat), made, reason="mine")
        assert caught.value.code == "own_request"
    assert not services.may_decide(org.principal(org.pat), made)
    assert services.may_decide(org.principal(org.ravi), made)
    assert services.approve(org.principal(org.ravi), made).state == RequestState.APPROVED


def raw_decision(request: Request, requester: Any, reviewer: Any, **fields: Any) -> Decision:
    return Decision.objects.create(
        request=request, requester=requester, reviewer=reviewer, submission=1, decision=Choice.APPROVE, **fields
    )


def test_the_database_refuses_a_decision_on_an_own_request(org: Org) -> None:
    """Also when the code above is passed by: the honest row, a false copy, a delegation, a later lie."""
    made = make_request(org.dana)
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_decision(made, org.dana, org.dana)
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_decision(made, org.omar, org.dana)  # the copy lies
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_decision(made, org.dana, org.pat, on_behalf_of=org.dana)
    honest = raw_decision(made, org.dana, org.pat)
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.filter(pk=honest.pk).update(requester=org.omar)
    with pytest.raises(IntegrityError), transaction.atomic():
        Request.objects.filter(pk=made.pk).update(requester=org.pat)
    assert Decision.objects.get() == honest


def test_one_decision_per_person_and_submission(org: Org) -> None:
    """Said by the database."""
    made = make_request(org.dana)
    raw_decision(made, org.dana, org.pat)
    with pytest.raises(IntegrityError), transaction.atomic():
        raw_decision(made, org.dana, org.pat)


def test_second_decision_is_already_decided(org: Org) -> None:
    """Whatever was said first, and whatever is said second."""
    for first in ("approved", "rejected", "changes_requested", "withdrawn"):
        made = make_request(org.dana, state=first)
        for verb in services.DECISIONS.values():
            with pytest.raises(Conflict) as caught:
                verb(org.principal(org.ravi), made, reason="late")
            assert caught.value.code == "already_decided"


def test_comment(org: Org) -> None:
    """Members and deciders may; the auditor may not, and text has bounds."""
    made = make_request(org.dana)
    services.comment(org.principal(org.omar), made, "Please.")
    services.comment(org.principal(org.pat), made, "Reading.")
    with pytest.raises(Forbidden):
        services.comment(org.principal(org.aud), made, "x")
    with pytest.raises(NotFound):
        services.comment(org.principal(org.cy), made, "x")
    for text in ("", "x" * 2001, "\x1b[0m"):
        with pytest.raises(Invalid):
            services.comment(org.principal(org.omar), made, text)
    assert [item.text for item in Comment.objects.all()] == ["Please.", "Reading."]
    assert actions(made).count("approvals.comment") == 2


# --- Checked again at the decision ----------------------------------------------------------------


def stale(org: Org, made: Request) -> Conflict:
    with pytest.raises(Conflict) as caught:
        services.approve(org.principal(org.pat), made)
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED and made.endpoint is None and not made.decisions.exists()
    assert not Endpoint.objects.exists()
    return caught.value


def test_plan_is_stale_when_the_version_was_blocked(org: Org) -> None:
    """The kill switch holds for what waits, too."""
    version = make_version()
    made = make_request(org.dana, version=version)
    catalog.block(lead(), version, reason="CVE")
    error = stale(org, made)
    assert error.code == "plan_stale" and "blocked" in error.sentence
    plan = error.extra["plan"]
    assert isinstance(plan, dict) and any(check["verdict"] == "fail" for check in plan["checks"])


def test_plan_is_stale_when_the_profile_shrank(org: Org) -> None:
    """What fitted once does not fit now."""
    profile = make_profile(memory_gib=16)
    made = make_request(org.dana, profile=profile)
    HardwareProfile.objects.filter(pk=profile.pk).update(memory_bytes=2**30)
    error = stale(org, made)
    assert error.code == "plan_stale" and "memory" in error.sentence


def test_plan_is_stale_when_the_name_was_taken_or_the_cluster_went(org: Org) -> None:
    """Two requests for one name: the first approval wins."""
    version, profile = make_version(), make_profile()
    first, second = (make_request(org.dana, version=version, profile=profile, name="same") for _ in range(2))
    services.approve(org.principal(org.pat), first)
    with pytest.raises(Conflict) as caught:
        services.approve(org.principal(org.pat), second)
    assert caught.value.code == "plan_stale"
    third = make_request(org.dana, version=version, profile=profile)
    Cluster.objects.update(environments=[])
    with pytest.raises(Conflict):
        services.approve(org.principal(org.pat), third)


def test_plan_is_stale_when_the_requester_left_or_the_end_has_passed(org: Org) -> None:
    """Who may not ask any more does not get it."""
    made = make_request(org.dana)
    org.fraud.memberships.filter(user=org.dana).delete()
    assert stale(org, made).code == "plan_stale"
    late = make_request(org.omar)
    body = late.body | {"ends_on": (timezone.now().date() - dt.timedelta(days=1)).isoformat()}
    Request.objects.filter(pk=late.pk).update(body=body)
    late.refresh_from_db()
    assert stale(org, late).code == "plan_stale"


def test_a_stale_request_can_still_be_rejected_or_sent_back(org: Org) -> None:
    """The way out of plan_stale."""
    version = make_version()
    made = make_request(org.dana, version=version)
    catalog.block(lead(), version, reason="CVE")
    assert services.request_changes(org.principal(org.pat), made, reason="Blocked.").state == "changes_requested"


@pytest.mark.parametrize("what", ["body", "plan"])
def test_a_tampered_plan_is_refused(org: Org, what: str) -> None:
    """What is provisioned is what was frozen: an altered row does not match its digest."""
    made = make_request(org.dana)
    if what == "body":
        Request.objects.filter(pk=made.pk).update(body=made.body | {"replicas": 64})
    else:
        Request.objects.filter(pk=made.pk).update(plan=made.plan | {"gpus": {"total": 0}})
    made.refresh_from_db()
    assert stale(org, made).code == "plan_tampered"


# --- What cannot be asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"asset": "unknown"}, "asset"),
        ({"version": "9.9"}, "version"),
        ({"hardware_profile": "unknown"}, "hardware_profile"),
        ({"project": "search-ranking"}, "project"),  # exists, but dana is a stranger there
        ({"project": "nothing"}, "project"),
        ({"context_tokens": 131_073}, "context_tokens"),
        ({"concurrency": 1024}, "hardware_profile"),
    ],
)
def test_bad_choices_name_their_field(org: Org, fields: dict[str, Any], field: str) -> None:
    """One sentence at the field; nothing is kept."""
    with pytest.raises(Invalid) as caught:
        services.send(org.principal(org.dana), whole_body() | fields)
    assert field in caught.value.fields
    assert not Request.objects.exists()


def test_foreign_and_unknown_projects_get_the_same_sentence(org: Org) -> None:
    """Nobody learns which projects exist."""
    sentences = set()
    for slug in ("search-ranking", "no-such-one"):
        with pytest.raises(Invalid) as caught:
            services.check(org.principal(org.dana), whole_body() | {"project": slug})
        sentences.add(caught.value.fields["project"].replace(slug, "…"))
    assert len(sentences) == 1


@pytest.mark.parametrize("state", ["deprecated", "retired", "blocked", "in_review", "draft"])
def test_only_approved_versions(org: Org, state: str) -> None:
    """Catalog first."""
    make_cluster()
    version = make_version(state)
    body = request_body(asset=version.asset.slug, hardware_profile=make_profile().slug)
    with pytest.raises(Invalid):
        services.send(org.principal(org.dana), body)


def test_an_mcp_server_is_not_served(org: Org) -> None:
    """It is granted, in a later release."""
    make_cluster()
    version = make_version(asset=make_asset(kind="mcp-server"))
    with pytest.raises(Invalid) as caught:
        services.send(
            org.principal(org.dana), request_body(asset=version.asset.slug, hardware_profile=make_profile().slug)
        )
    assert "MCP server" in caught.value.sentence


def test_a_pool_that_could_never_hold_it(org: Org) -> None:
    """Waiting for ever is not a plan."""
    profile = make_profile(gpus=4)
    make_pool(limit=8, profiles=[profile])
    version = make_version()
    body = request_body(asset=version.asset.slug, hardware_profile=profile.slug, replicas=3)
    with pytest.raises(Invalid) as caught:
        services.send(org.principal(org.dana), body)
    assert "Set replicas to 2 or less." in caught.value.fields["replicas"]


# --- Room -----------------------------------------------------------------------------------------


def test_approval_never_fails_for_room(org: Org) -> None:
    """The third of three 4-GPU requests waits with a position, and its endpoint is pending."""
    profile = make_profile(gpus=4)
    pool = make_pool(limit=8, profiles=[profile])
    version = make_version()
    for _ in range(3):
        services.approve(org.principal(org.pat), make_request(org.dana, version=version, profile=profile))
    pool.refresh_from_db()
    states = list(Reservation.objects.order_by("id").values_list("state", flat=True))
    assert states == [ReservationState.HELD, ReservationState.HELD, ReservationState.WAITING]
    assert pool.held == 8
    plan = services.check(
        org.principal(org.dana), request_body(asset=version.asset.slug, hardware_profile=profile.slug)
    )
    assert plan["room"]["position"] == 2 and plan["room"]["sentence"].endswith("number 2.")
    body = request_body(project="search-ranking", asset=version.asset.slug, hardware_profile=profile.slug)
    room = services.check(org.principal(org.cy), body)["room"]
    assert room["position"] == 1 and "further below its share" in room["sentence"], "the place that it will have"


def test_the_pool_whose_cluster_serves_the_environment_is_chosen(org: Org) -> None:
    """A profile in two pools: prod runs where prod is."""
    make_cluster()
    Cluster.objects.update(environments=["dev"])
    Cluster.objects.create(slug="far", name="Far", driver="local", environments=["prod"])
    profile = make_profile(gpus=1)
    make_pool(profiles=[profile], slug="a-near")
    far = Pool.objects.create(slug="b-far", name="Far", cluster="far", limit=8, observed=8)
    far.profiles.add(profile)
    version = make_version()
    body = request_body(asset=version.asset.slug, hardware_profile=profile.slug, environment="prod", replicas=2)
    plan = services.check(org.principal(org.dana), body)
    assert (plan["cluster"], plan["room"]["pool"]) == ("far", "b-far")
    made = services.approve(org.principal(org.pat), services.send(org.principal(org.dana), body))
    assert made.endpoint is not None and made.endpoint.cluster.slug == "far"
    assert Reservation.objects.get().pool == far


def test_a_bound_token_stays_in_its_project(org: Org) -> None:
    """A token of one project neither asks nor withdraws in another."""
    org.search.memberships.create(user=org.dana, role="developer")
    bound = Principal.of(org.dana, via="token", scopes=frozenset({"requests:write"}), project_id=org.search.pk)
    made = make_request(org.dana)
    with pytest.raises((NotFound, Forbidden)):
        services.withdraw(bound, made)
    with pytest.raises(Invalid):
        services.send(bound, whole_body())


def test_the_audit_log_is_in_the_transaction(org: Org) -> None:
    """A decision that is rolled back leaves no row."""
    made = make_request(org.dana)
    before = Row.objects.count()

    def interrupted() -> None:
        with transaction.atomic():
            services.approve(org.principal(org.pat), made)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        interrupted()
    assert Row.objects.count() == before and connection.is_usable()
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED
