"""Requests about what is there: revision, renewal, access, quota. What each plan says, and what its approval does."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from approvals import services
from approvals.models import Request, RequestState
from approvals.stages.words import sentence
from audit.models import Row
from catalog import services as catalog
from endpoints import services as endpoint_services
from endpoints.models import Endpoint, Phase, Share
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.models import User
from projects.principal import Principal
from quotas.limits import gpu_limit, set_quotas
from quotas.models import Pool, QuotaRaise, Reservation, UsageDay
from tests.conftest import Org
from tests.factories import (
    engineer,
    lead,
    living_body,
    make_endpoint,
    make_pool,
    make_profile,
    make_request,
    make_version,
)

pytestmark = pytest.mark.slow

KINDS = ("revision", "renewal", "access", "quota")
TODAY = timezone.now().date()


def soon(days: int) -> str:
    return (timezone.now().date() + dt.timedelta(days=days)).isoformat()


def offered(org: Org, **fields: Any) -> Endpoint:
    """An endpoint of search-ranking that its owner offers to others."""
    endpoint = make_endpoint(org.cy, project="search-ranking", **fields)
    return endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)


def ask(org: Org, kind: str, *, by: User | None = None, state: str = "submitted", **fields: Any) -> Request:
    """A request of `kind` by dana about something that the services made for it."""
    if kind in {"revision", "renewal"}:
        fields = {"endpoint": make_endpoint(org.dana, name="scoring")} | fields
        if kind == "revision":
            fields = {"replicas": 2} | fields
    if kind == "access":
        fields = {"endpoint": offered(org, name="ranking")} | fields
    if kind == "quota":
        make_pool(limit=8, slug="all")
        set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
    made: Request = make_request(by or org.dana, kind=kind, state=state, **fields)
    return made


def verdicts(plan: Any) -> dict[str, str]:
    return {check["id"]: check["verdict"] for check in plan["checks"] if check["source"] == "portal"}


# --- What approval does ---------------------------------------------------------------------------


def test_revision(org: Org) -> None:
    """The plan says before and after; approval opens revision 2 under the request's digest."""
    made = ask(org, "revision")
    plan = made.plan
    assert plan["kind"] == "revision" and plan["changes"] == [{"field": "replicas", "before": 1, "after": 2}]
    assert plan["delta"] == {"memory_bytes": 0, "gpus": 0, "per_month": "+73.00"}
    assert (plan["before"]["per_month"], plan["cost"]["per_month"]) == ("73.00", "146.00")
    assert made.endpoint is not None and (made.name, made.project) == ("scoring", org.fraud)
    done = services.approve(engineer(), made)
    revision = done.endpoint.revisions.get(number=2) if done.endpoint else None
    assert revision is not None and revision.replicas == 2
    assert (revision.authorization_reference, revision.authorization_digest) == (done.number, done.plan_digest)
    assert done.ready_at == done.decided_at and done.lead_time is not None


def test_a_revision_as_a_canary(org: Org) -> None:
    """The plan says its share and that something must answer beside it; approval begins with that share."""
    endpoint = make_endpoint(org.dana, name="letters")
    made = ask(org, "revision", endpoint=endpoint, canary_percent=5)
    assert made.body["canary_percent"] == made.plan["canary_percent"] == 5
    assert verdicts(made.plan)["rev-004"] == "warn"  # it has not answered yet
    with pytest.raises(Conflict) as refused:
        services.approve(engineer(), made)
    assert refused.value.code == "nothing_to_compare"
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, reason_code="ready")
    services.approve(engineer(), made)
    endpoint.refresh_from_db()
    assert endpoint.next_revision is not None and endpoint.next_revision.number == 2
    assert endpoint.revision is not None and (endpoint.revision.number, endpoint.canary_percent) == (1, 5)
    plain = services.check(org.principal(org.dana), living_body("revision", endpoint=endpoint, replicas=3))
    assert "canary_percent" not in plain and "rev-004" not in verdicts(plain)
    for percent in (0, 51):
        with pytest.raises(Invalid, match="canary_percent"):
            services.check(org.principal(org.dana), living_body("revision", endpoint=endpoint, canary_percent=percent))


def test_renewal(org: Org) -> None:
    """The plan says how it was used and what it will cost; approval moves the end, and the authorization with it."""
    made = ask(org, "renewal")
    plan, endpoint = made.plan, made.endpoint
    assert endpoint is not None and endpoint.ends_on is not None
    assert plan["usage"]["requests"] == 0 and plan["usage"]["last_call"] is None
    assert (plan["usage"]["idle_days"], plan["usage"]["cost"]) == (1, None)  # made today; it holds no accelerator
    assert verdicts(plan) == {"cat-003": "pass", "use-001": "warn"}
    after = endpoint.ends_on + dt.timedelta(days=30)
    assert plan["ends_on"] == {"before": endpoint.ends_on.isoformat(), "after": after.isoformat()}
    hours = (after - timezone.now().date()).days * 24
    assert plan["cost"]["until_end"] == f"{hours * 0.1:.2f}"
    services.approve(engineer(), made)
    endpoint.refresh_from_db()
    assert endpoint.ends_on == after and endpoint.revision is not None
    assert endpoint.revision.authorization_valid_until == after


def test_access(org: Org) -> None:
    """An owner of the endpoint's project decides; then the asking project has a share with the request's number."""
    made = ask(org, "access")
    plan = made.plan
    assert plan["endpoint"]["model"] == "search-ranking/ranking" and plan["project"] == "fraud-detection"
    assert plan["load"]["requests_24h"] == 0 and plan["data"] == {"endpoint": "internal", "asked": None}
    assert "An owner of search-ranking decides" in sentence(plan) and plan["stages"][0]["roles"][0] == "owner"
    assert verdicts(plan)["acc-001"] == "warn"  # it is still pending
    services.approve(org.principal(org.cy), made, reason="Fine.")
    share = Share.objects.get()
    assert (share.endpoint, share.project, share.authorization_reference) == (made.endpoint, org.fraud, made.number)
    assert share.ends_on is not None and share.ends_on.isoformat() == made.body["ends_on"]
    assert share.granted_by == org.cy


def test_quota(org: Org) -> None:
    """The plan says what is held and what counts before and after; approval raises it until the day."""
    made = ask(org, "quota", hard=5, ends_on=soon(10))
    plan = made.plan
    assert (plan["used"], plan["before"]["hard"], plan["after"]["hard"]) == (0, 2, 5)
    assert plan["title"] == "GPU quota" and made.name == "fraud-detection" and made.endpoint is None
    services.approve(org.principal(org.yasmine), made)
    assert gpu_limit(org.fraud).limit == 5
    raised = QuotaRaise.objects.get()
    assert raised.reference == made.number and raised.ends_on.isoformat() == soon(10)
    made.refresh_from_db()
    assert made.state == RequestState.APPROVED and made.ready_at == made.decided_at


def test_token_quota_of_endpoint_and_key(org: Org) -> None:
    """By the endpoint's name, and by the key's name or prefix; the target is resolved to its id."""
    dana, endpoint = org.principal(org.dana), make_endpoint(org.dana, name="scoring")
    key, _ = endpoint_services.issue_key(dana, org.fraud, "batch", [], None, 30)
    entries = [
        {"target": "endpoint", "name": "scoring", "window": "day", "soft": 5, "hard": 10},
        {"target": "key", "name": key.prefix, "window": "month", "hard": 100},
    ]
    set_quotas(engineer(), org.fraud, {"tokens": entries}, endpoints={"scoring": str(endpoint.pk)})
    fields: dict[str, Any] = {"quota": "tokens", "window": "day", "target": "endpoint", "target_name": "scoring"}
    made = make_request(org.dana, kind="quota", soft=15, **fields | {"hard": 20})
    assert made.plan["target"] == {"kind": "endpoint", "id": str(endpoint.pk), "name": "scoring"}
    assert made.plan["after"] == {"soft": 15, "hard": 20} and made.name == "scoring"
    for name in ("batch", key.prefix):
        plan = services.check(
            dana,
            living_body("quota", quota="tokens", window="month", target="key", target_name=name, hard=200),
        )
        assert plan["target"] == {"kind": "key", "id": str(key.pk), "name": key.prefix}
    services.approve(engineer(), made)
    assert QuotaRaise.objects.get().soft == 15


# --- Who may ask, who may decide ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["revision", "renewal"])
def test_only_builders_of_the_endpoints_project_ask(org: Org, kind: str) -> None:
    """A viewer, a platform engineer and a stranger get the same sentence as for an endpoint that does not exist."""
    endpoint = make_endpoint(org.dana)
    body = living_body(kind, endpoint=endpoint)
    sentences = set()
    for person in (org.vic, org.pat, org.cy, org.aud):
        with pytest.raises(Invalid) as caught:
            services.send(org.principal(person), body)
        sentences.add(caught.value.fields["endpoint"].replace(str(endpoint.pk), "…"))
    nothing = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(Invalid) as caught:
        services.send(org.principal(org.dana), body | {"endpoint": nothing})
    sentences.add(caught.value.fields["endpoint"].replace(nothing, "…"))
    assert len(sentences) == 1 and not Request.objects.filter(kind=kind).exists()
    assert services.check(org.principal(org.omar), body | ({"replicas": 2} if kind == "revision" else {}))["checks"]


def test_access_only_to_what_is_offered(org: Org) -> None:
    """Not shareable, deleted and unknown read alike; the own endpoint needs no request."""
    hidden = make_endpoint(org.cy, project="search-ranking", name="hidden")
    gone = offered(org, name="gone")
    endpoint_services.delete(org.principal(org.cy), gone)
    dana, sentences = org.principal(org.dana), set()
    for identifier in (str(hidden.pk), str(gone.pk), "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(Invalid) as caught:
            services.send(dana, living_body("access") | {"endpoint": identifier})
        sentences.add(caught.value.fields["endpoint"].replace(identifier, "…"))
    assert len(sentences) == 1
    own = make_endpoint(org.dana, name="mine")
    endpoint_services.set_shareable(org.principal(org.omar), own, True)
    with pytest.raises(Invalid, match="belongs to fraud-detection itself"):
        services.send(dana, living_body("access", endpoint=own))
    for person in (org.vic, org.pat, org.cy):  # not builders of the project that would call
        with pytest.raises(Invalid) as caught:
            services.send(org.principal(person), living_body("access", endpoint=offered(org)))
        assert "project" in caught.value.fields


@pytest.mark.parametrize("kind", KINDS)
def test_who_decides(org: Org, kind: str) -> None:
    """Platform engineers and governance leads; of access also the owners of the endpoint's project, and they alone."""
    made = ask(org, kind)
    for person in (org.dana, org.omar, org.vic, org.aud):
        with pytest.raises(Forbidden):
            services.reject(org.principal(person), made, reason="no")
    cy = org.principal(org.cy)
    if kind == "access":
        assert services.may_decide(cy, made)
        assert services.reject(cy, made, reason="Full.").state == RequestState.REJECTED
    else:
        with pytest.raises(NotFound):
            services.reject(cy, made, reason="no")
        assert services.reject(org.principal(org.ravi), made, reason="no").state == RequestState.REJECTED


def test_only_owners_of_the_endpoints_project_see_a_request_for_access(org: Org) -> None:
    """Its developers and viewers do not; nor does anybody before it is sent."""
    org.search.memberships.create(user=org.vic, role="developer")
    org.fraud.memberships.filter(user=org.vic).delete()
    draft = ask(org, "access", state="draft")
    with pytest.raises(NotFound):
        services.comment(org.principal(org.cy), draft, "?")
    made = services.submit(org.principal(org.dana), draft)
    with pytest.raises(NotFound):
        services.comment(org.principal(org.vic), made, "?")
    services.comment(org.principal(org.cy), made, "Which data?")
    bound = Principal.of(org.cy, via="token", scopes=frozenset({"approvals:decide"}), project_id=org.search.pk)
    assert services.may_decide(bound, made)
    other = Principal.of(org.cy, via="token", scopes=frozenset({"approvals:decide"}), project_id=org.fraud.pk)
    assert not services.may_decide(other, made)


def test_an_owner_of_both_projects_does_not_decide_their_own_request(org: Org) -> None:
    """Nobody decides on an own request, whichever project they own."""
    org.fraud.memberships.create(user=org.cy, role="owner")
    made = ask(org, "access", by=org.cy)
    with pytest.raises(Forbidden) as caught:
        services.approve(org.principal(org.cy), made)
    assert caught.value.code == "own_request" and not services.may_decide(org.principal(org.cy), made)
    assert services.approve(engineer(), made).state == RequestState.APPROVED  # the platform may as well


# --- What is refused ------------------------------------------------------------------------------


def test_a_renewal_must_extend(org: Org) -> None:
    """The same or an earlier day is refused with the day that counts."""
    endpoint = make_endpoint(org.dana)
    assert endpoint.ends_on is not None
    for days in (0, -5):
        day = (endpoint.ends_on + dt.timedelta(days=days)).isoformat()
        with pytest.raises(Invalid) as caught:
            services.send(org.principal(org.dana), living_body("renewal", endpoint=endpoint, ends_on=day))
        assert str(endpoint.ends_on) in caught.value.fields["ends_on"]


def test_a_revision_must_change_something(org: Org) -> None:
    """And what it changes to must fit."""
    endpoint = make_endpoint(org.dana)
    dana = org.principal(org.dana)
    with pytest.raises(Invalid, match="Something changes"):
        services.send(dana, living_body("revision", endpoint=endpoint))
    with pytest.raises(Invalid) as caught:
        services.send(dana, living_body("revision", endpoint=endpoint, concurrency=1024))
    assert "hardware_profile" in caught.value.fields and caught.value.code == "checks_failed"
    for field in ("version", "hardware_profile"):
        with pytest.raises(Invalid) as caught:
            services.send(dana, living_body("revision", endpoint=endpoint, **{field: "unknown"}))
        assert field in caught.value.fields


def test_a_revision_to_another_model_warns(org: Org) -> None:
    """Callers get other answers; the reviewer reads it."""
    other = make_version()
    endpoint = make_endpoint(org.dana)
    body = living_body("revision", endpoint=endpoint, asset=other.asset.slug, version=other.version)
    plan = services.check(org.principal(org.dana), body)
    assert verdicts(plan)["rev-002"] == "warn" and plan["asset"] == other.asset.slug


def test_a_deprecated_version_may_stay_but_not_come(org: Org) -> None:
    """Scaling up what runs already warns; moving to it is refused. A blocked one is neither renewed nor shared."""
    old, new = make_version(), make_version()
    endpoint, other = make_endpoint(org.dana, version=old), make_endpoint(org.dana, version=new)
    catalog.deprecate(lead(), old)
    dana = org.principal(org.dana)
    plan = services.check(dana, living_body("revision", endpoint=endpoint, replicas=2))
    assert verdicts(plan)["cat-001"] == "warn"
    moved = living_body("revision", endpoint=other, asset=old.asset.slug, version=old.version)
    assert verdicts(services.check(dana, moved))["cat-001"] == "fail"
    catalog.block(lead(), new, reason="CVE")
    with pytest.raises(Invalid, match="blocked"):
        services.send(dana, living_body("renewal", endpoint=other))


def test_access_with_more_sensitive_data_is_refused(org: Org) -> None:
    """The endpoint was approved for internal data."""
    endpoint, dana = offered(org), org.principal(org.dana)
    body = living_body("access", endpoint=endpoint)
    with pytest.raises(Invalid) as caught:
        services.send(dana, body | {"data_classification": "restricted"})
    assert "internal" in caught.value.fields["data_classification"]
    assert verdicts(services.check(dana, body | {"data_classification": "public"}))["acc-002"] == "pass"
    late = services.check(dana, body | {"ends_on": soon(200)})
    assert verdicts(late)["acc-004"] == "warn"  # the endpoint itself ends before


def test_access_that_is_granted_already(org: Org) -> None:
    """Only a later end can be asked for; it replaces the share."""
    made = ask(org, "access")
    services.approve(engineer(), made)
    dana = org.principal(org.dana)
    same = {name: made.body[name] for name in made.body}
    with pytest.raises(Invalid) as caught:
        services.send(dana, same)
    assert made.body["ends_on"] in caught.value.fields["ends_on"]
    longer = services.send(dana, same | {"ends_on": soon(50)})
    services.approve(org.principal(org.cy), longer)
    share = Share.objects.get(ended_at__isnull=True)
    assert str(share.ends_on) == soon(50) and share.authorization_reference == longer.number


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"hard": 2}, "hard", "2 count already"),
        ({"hard": 1}, "hard", "2 count already"),
        ({"quota": "tokens", "window": "day", "hard": 10}, "quota", "nothing to raise"),
        ({"quota": "tokens", "window": "day", "target": "key", "target_name": "no"}, "target_name", "no such key"),
        (
            {"quota": "tokens", "window": "day", "target": "endpoint", "target_name": "no"},
            "target_name",
            "no such endp",
        ),
        ({"project": "search-ranking"}, "project", "may send requests"),
    ],
)
def test_quotas_that_cannot_be_raised(org: Org, fields: dict[str, Any], name: str, words: str) -> None:
    """One clear sentence; nothing is kept."""
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
    with pytest.raises(Invalid) as caught:
        services.send(org.principal(org.dana), living_body("quota") | fields)
    assert words in caught.value.fields[name]
    assert not Request.objects.exists()


def test_quota_below_what_is_used(org: Org) -> None:
    """More than the limit, and still less than is used: it would help nobody."""
    set_quotas(engineer(), org.fraud, {"tokens": [{"target": "project", "window": "day", "hard": 10}]})
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    UsageDay.objects.create(start=today, project_id=org.fraud.pk, endpoint_id="e", endpoint="e", key_id="k", key="k",
                            person="dana", requests=3, input_tokens=40, output_tokens=60)  # fmt: skip
    body = living_body("quota", quota="tokens", window="day", hard=50)
    with pytest.raises(Invalid) as caught:
        services.send(org.principal(org.dana), body)
    assert caught.value.fields["hard"] == "hard is 50; 100 are used already. Choose a value above 100."
    plan = services.check(org.principal(org.dana), body | {"hard": 101})
    assert plan["used"] == 100 and plan["resets_at"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_open_request_at_a_time(org: Org, kind: str) -> None:
    """The second one is told which one waits; once that is decided it may be sent."""
    made = ask(org, kind)
    dana = org.principal(org.dana)
    with pytest.raises(Conflict) as caught:
        services.send(dana, made.body)
    assert caught.value.code == "already_asked" and made.number in caught.value.sentence
    assert Request.objects.filter(kind=kind).count() == 1
    services.reject(engineer(), made, reason="Not now.")
    assert services.send(dana, made.body).state == RequestState.SUBMITTED


# --- Checked again at the decision ----------------------------------------------------------------


def gone_stale(made: Request) -> Conflict:
    with pytest.raises(Conflict) as caught:
        services.approve(engineer(), made)
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED and not made.decisions.exists()
    assert caught.value.code == "plan_stale"
    return caught.value


@pytest.mark.parametrize("kind", ["revision", "renewal", "access"])
def test_the_endpoint_was_deleted_meanwhile(org: Org, kind: str) -> None:
    """Nothing is done, and the sentence says what is gone; it can still be rejected."""
    made = ask(org, kind)
    assert made.endpoint is not None
    endpoint_services.delete(engineer(), made.endpoint)
    assert "endpoint" in gone_stale(made).sentence
    assert not Share.objects.exists()
    assert services.reject(engineer(), made, reason="Gone.").state == RequestState.REJECTED


@pytest.mark.parametrize("kind", ["revision", "renewal", "access"])
def test_the_version_was_blocked_meanwhile(org: Org, kind: str) -> None:
    """A verdict that was good at submission fails now."""
    made = ask(org, kind)
    assert made.version is not None
    catalog.block(lead(), made.version, reason="CVE")
    plan = gone_stale(made).extra["plan"]
    assert isinstance(plan, dict) and "fail" in verdicts(plan).values()


def test_no_longer_offered_meanwhile(org: Org) -> None:
    """The owner took the offer back while the request waited."""
    made = ask(org, "access")
    assert made.endpoint is not None
    endpoint_services.set_shareable(org.principal(org.cy), made.endpoint, False)
    gone_stale(made)


def test_the_quota_grew_meanwhile(org: Org) -> None:
    """What was asked for counts already."""
    made = ask(org, "quota", hard=5)
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 6}})
    assert "6 count already" in gone_stale(made).sentence


def test_the_requester_left_meanwhile(org: Org) -> None:
    """Who may not ask any more gets nothing."""
    for kind in KINDS:
        made = ask(org, kind)
        role = org.fraud.memberships.get(user=org.dana)
        org.fraud.memberships.filter(pk=role.pk).update(role="viewer")
        gone_stale(made)
        org.fraud.memberships.filter(pk=role.pk).update(role="developer")
        services.withdraw(org.principal(org.dana), made)
        Endpoint.objects.update(phase=Phase.DELETED, deleted_at=timezone.now() - dt.timedelta(days=60))
        Pool.objects.all().delete()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["body", "plan"])
def test_a_tampered_request_is_refused(org: Org, kind: str, what: str) -> None:
    """What is done is what was frozen."""
    made = ask(org, kind)
    rows = Request.objects.filter(pk=made.pk)
    if what == "plan":
        rows.update(plan=made.plan | {"checks": []})
    else:
        rows.update(body=made.body | {"purpose": "Something else."})
    made.refresh_from_db()
    with pytest.raises(Conflict) as caught:
        services.approve(engineer(), made)
    assert caught.value.code == "plan_tampered"


def test_the_kind_of_a_draft_stays(org: Org) -> None:
    """A renewal does not become a quota."""
    made = ask(org, "renewal", state="draft")
    with pytest.raises(Invalid) as caught:
        services.change(org.principal(org.dana), made, living_body("quota"))
    assert "kind" in caught.value.fields


# --- The project's GPU quota ----------------------------------------------------------------------


def test_a_new_endpoint_stays_within_the_gpu_quota(org: Org) -> None:
    """Checked before it is sent, with how many would do; and again at the approval."""
    profile = make_profile(gpus=1)
    make_pool(limit=8, profiles=[profile])
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
    with pytest.raises(Invalid) as caught:
        make_request(org.dana, profile=profile, replicas=3)
    assert "Set replicas to 2 or less" in caught.value.fields["replicas"]
    first, second = (make_request(org.dana, profile=profile, replicas=2) for _ in range(2))
    services.approve(engineer(), first)
    with pytest.raises(Conflict) as conflict:
        services.approve(engineer(), second)
    assert conflict.value.code == "plan_stale" and "GPU quota" in conflict.value.sentence
    assert Reservation.objects.count() == 1


def test_a_revision_counts_what_the_endpoint_has(org: Org) -> None:
    """One GPU more of two, with a quota of two: fits; two more: does not."""
    profile = make_profile(gpus=1)
    make_pool(limit=8, profiles=[profile])
    endpoint = make_endpoint(org.dana, profile=profile)
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
    dana = org.principal(org.dana)
    plan = services.check(dana, living_body("revision", endpoint=endpoint, replicas=2))
    assert verdicts(plan)["project-gpu-quota"] == "pass" and plan["delta"]["gpus"] == 1
    assert plan["room"]["way"] == "beside" and plan["room"]["own"] == 1
    plan = services.check(dana, living_body("revision", endpoint=endpoint, replicas=3))
    assert verdicts(plan)["project-gpu-quota"] == "fail"


def test_a_revision_says_how_it_finds_room(org: Org) -> None:
    """Beside what runs, in its place, or not yet."""
    profile = make_profile(gpus=1)
    make_pool(limit=4, profiles=[profile])
    endpoint = make_endpoint(org.dana, profile=profile, replicas=2)
    dana, ways = org.principal(org.dana), []
    for replicas in (1, 3, 4):
        room = services.check(dana, living_body("revision", endpoint=endpoint, replicas=replicas))["room"]
        ways.append((room["way"], room["position"]))
    assert ways == [("beside", 0), ("instead", 0), ("instead", 0)]
    make_endpoint(org.dana, profile=profile, replicas=2)
    room = services.check(dana, living_body("revision", endpoint=endpoint, replicas=4))["room"]
    assert (room["way"], room["position"]) == ("waits", 1)


def test_every_kind_leaves_its_rows(org: Org) -> None:
    """Draft, submission, decision, and the mechanism's own row, all in the audit log."""
    found = {}
    for kind in KINDS:
        made = ask(org, kind, state="approved")
        rows = Row.objects.filter(object_kind="request", object_id=str(made.pk)).order_by("id")
        found[kind] = [row.action for row in rows]
        Endpoint.objects.update(phase=Phase.DELETED, deleted_at=timezone.now() - dt.timedelta(days=60))
    assert set(map(tuple, found.values())) == {("approvals.draft", "approvals.submit", "approvals.approve")}
    own = {"endpoints.open_revision", "endpoints.renew", "endpoints.share", "quotas.raise_quota"}
    assert own <= set(Row.objects.values_list("action", flat=True))
