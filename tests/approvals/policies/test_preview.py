"""The impact preview: it says what then happens, to whom it may say it, and it survives its worker."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from approvals import findings, services
from approvals.models import Finding, Preview, PreviewState, Request, Waiver
from approvals.policies import comparing, preview, publishing
from approvals.policies.active import active
from approvals.policies.judging import judge
from approvals.tasks import preview as preview_task
from endpoints.models import Endpoint, Phase
from portal.errors import Conflict, Forbidden, Invalid
from portal.states import move
from projects.principal import Principal
from tests.approvals.policies.kit import bundle, publish, rule, stage
from tests.conftest import Org
from tests.factories import make_endpoint, make_request

pytestmark = pytest.mark.slow


def looked(org: Org, files: dict[str, str]) -> Preview:
    """A preview of `files` that a worker has finished."""
    row = preview.ask(Principal.of(org.yasmine), files)
    assert preview.run_due() == 1
    row.refresh_from_db()
    return row


def test_preview_works(org: Org) -> None:
    """What would change, of which it is how much, and why; the rest is counted."""
    publish(org, rule(days=90))
    endpoint, waits = make_endpoint(org.dana), make_request(org.dana)
    row = looked(org, bundle(rule(days=30, severity="deny")))
    assert row.state == PreviewState.DONE and row.done == row.total == 3  # the endpoint, its request, the other one
    assert row.result["endpoints"] == 1 and row.result["requests"] == 2 and row.result["changed"] == 3
    lines = {(one["kind"], one["id"]): one for one in preview.lines(Principal.of(org.yasmine), row)}
    assert set(lines) == {
        ("endpoint", str(endpoint.pk)), ("request", str(waits.pk)), ("request", str(endpoint.requests.get().pk)),
    }  # fmt: skip
    line = lines["request", str(waits.pk)]
    assert (line["now"], line["then"], line["state"]) == ("pass", "fail", "submitted")
    assert line["name"] == f"R-{waits.pk} {waits.name}" and "in 60 days" in line["why"]
    assert [part["id"] for part in line["parts"]] == ["life-900"]
    assert lines["endpoint", str(endpoint.pk)]["state"] == "dev, pending"


def test_nothing_changes(org: Org) -> None:
    """A rule more that everything passes, other words, other tests: nobody is affected."""
    publish(org, rule(days=90))
    make_request(org.dana)
    text = bundle(rule(days=90), rule("life-901", days=300))
    text["rules/life-900.yaml"] = text["rules/life-900.yaml"].replace("nearer", "closer")
    row = looked(org, text)
    assert row.state == PreviewState.DONE and row.result["changed"] == 0 and row.result["changes"] == []


def test_who_decides_is_part_of_it(org: Org) -> None:
    """A stage more shows, although every verdict stays."""
    publish(org, rule(days=90))
    make_request(org.dana)
    row = looked(
        org,
        bundle(
            rule(days=90),
            stage(when='request.environment in ["dev", "prod"]')
            | {
                "stages/leads.yaml": stage(when='request.environment == "dev" || request.environment == "prod"')[
                    "stages/leads.yaml"
                ].replace("environment: dev", "environment: staging")
            },
        ),
    )
    change = row.result["changes"][0]
    assert (change["now"], change["then"]) == ("pass", "pass")
    assert change["parts"][0]["id"] == "stages" and change["parts"][0]["then"] == "Governance (1)"


def test_the_preview_equals_what_then_happens(org: Org) -> None:
    """Published, every object gets the verdict that the preview said: findings of what runs, fresh plans of what is
    asked. What it did not name stays as it was.
    """
    publish(org, rule(days=90), rule("life-901", days=20))
    soon = (timezone.now().date() + dt.timedelta(days=25)).isoformat()
    endpoints = [make_endpoint(org.dana), make_endpoint(org.dana, ends_on=soon)]
    waiting = [make_request(org.dana), make_request(org.dana, ends_on=soon)]
    findings.sweep()
    before = {str(row.endpoint_id): row.verdict for row in Finding.objects.filter(check_id="life-900", closed_at=None)}
    assert before == {}
    files = bundle(rule(days=30, severity="deny"), rule("life-901", days=20))
    row = looked(org, files)
    said = {(one["kind"], one["id"]): one for one in row.result["changes"]}
    publishing.publish(Principal.of(org.yasmine), files, reason="As looked at.", expected=row.against)
    findings.sweep()
    for endpoint in endpoints:
        found = {one.check_id: one.verdict for one in Finding.objects.filter(endpoint=endpoint, closed_at=None)}
        change = said.get(("endpoint", str(endpoint.pk)))
        assert found.get("life-900", "pass") == (change["then"] if change else "pass"), endpoint
    assert ("endpoint", str(endpoints[0].pk)) in said and ("endpoint", str(endpoints[1].pk)) not in said
    for request in waiting:
        now = {
            check["id"]: check["verdict"]
            for check in services.check(Principal.of(org.dana), request.body | {"name": f"again-{request.pk}"})[
                "checks"
            ]
            if check["source"] == "policy"
        }
        change = said.get(("request", str(request.pk)))
        then = {part["id"]: part["then"] for part in change["parts"]} if change else {"life-900": "pass"}
        assert now["life-900"] == then["life-900"]
        frozen = {check.id: check.verdict for check in judge(active().bundle, request.plan["document"])}
        assert frozen["life-900"] == then["life-900"]


def test_waivers_count(org: Org) -> None:
    """What is waived stays waived: the change is from pass to waived, for that endpoint alone."""
    publish(org, rule(days=90))
    endpoint, other = make_endpoint(org.dana), make_endpoint(org.dana)
    Waiver.objects.create(
        asked=endpoint.requests.get(), check_id="life-900", project=org.fraud, endpoint=endpoint, reason="Needed.",
        compensating_control="Watched daily.", owner=org.omar, requested_by=org.dana, approved_by=org.yasmine,
        ends_on=timezone.now().date() + dt.timedelta(days=9),
    )  # fmt: skip
    row = looked(org, bundle(rule(days=30, severity="deny")))
    then = {one["id"]: one["then"] for one in row.result["changes"] if one["kind"] == "endpoint"}
    assert then == {str(endpoint.pk): "waived", str(other.pk): "fail"}


def test_only_what_the_reader_may_see(org: Org) -> None:
    """Governance sees all; somebody of one project, where a preview is shown to them at all, only its objects."""
    publish(org, rule(days=90))
    mine, theirs = make_request(org.dana), make_request(org.cy, project="search-ranking")
    row = looked(org, bundle(rule(days=30)))
    seen = {name: {one["id"] for one in preview.lines(Principal.of(getattr(org, name)), row)}
            for name in ("yasmine", "aud", "dana", "cy")}  # fmt: skip
    both = {str(mine.pk), str(theirs.pk)}
    assert seen == {"yasmine": both, "aud": both, "dana": {str(mine.pk)}, "cy": {str(theirs.pk)}}


def test_asking(org: Org) -> None:
    """Governance leads only; a bundle that is none is refused at once; the same question waits once; five at most."""
    with pytest.raises(Forbidden):
        preview.ask(Principal.of(org.pat), bundle())
    by = Principal.of(org.yasmine)
    with pytest.raises(Invalid):
        preview.ask(by, {"rules/x.yaml": "id: ["})
    first = preview.ask(by, bundle(rule(days=1)))
    assert preview.ask(by, bundle(rule(days=1))).pk == first.pk
    for days in range(2, 6):
        preview.ask(by, bundle(rule(days=days)))
    with pytest.raises(Conflict) as error:
        preview.ask(by, bundle(rule(days=6)))
    assert error.value.code == "too_many_previews"
    preview_task()
    assert not Preview.objects.exclude(state=PreviewState.DONE).exists()
    assert preview.ask(by, bundle(rule(days=1))).pk != first.pk  # the world may have changed since


def test_red_tests_can_be_looked_at(org: Org) -> None:
    """A preview asks what a bundle would change, not whether it may be published."""
    assert looked(org, bundle(rule(red=True))).state == PreviewState.DONE


def test_a_killed_worker(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its preview is begun again by the next sweep when the claim has lapsed, not before; and ends once."""
    make_request(org.dana)
    row = preview.ask(Principal.of(org.yasmine), bundle(rule(days=30)))
    with monkeypatch.context() as patch:
        patch.setattr(
            "approvals.policies.preview.compare", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            preview.run_due()
    row.refresh_from_db()
    assert row.state == PreviewState.RUNNING and row.claimed_until is not None
    assert preview.run_due() == 0  # somebody may be at work
    Preview.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    assert preview.run_due() == 1 and preview.run_due() == 0
    row.refresh_from_db()
    assert row.state == PreviewState.DONE and row.result["changed"] == 1


def test_a_worker_that_was_slow(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lost the claim writes nothing over what the next one found."""
    make_request(org.dana)
    row = preview.ask(Principal.of(org.yasmine), bundle(rule(days=30)))
    real = comparing.compare

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr("approvals.policies.preview.compare", real)
        Preview.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
        preview.run_due()  # the other worker takes it and is done with it
        return None

    monkeypatch.setattr("approvals.policies.preview.compare", interrupted)
    assert preview.run_due() == 1
    row.refresh_from_db()
    assert row.state == PreviewState.DONE and row.result["changed"] == 1


def test_a_preview_that_kills_every_worker(org: Org) -> None:
    """After ten minutes it is given up, in a sentence."""
    row = preview.ask(Principal.of(org.yasmine), bundle())
    past = timezone.now() - dt.timedelta(minutes=11)
    assert move(Preview.objects.filter(pk=row.pk), "queued", "running", claimed_until=past, created_at=past)
    assert preview.run_due() == 0
    row.refresh_from_db()
    assert row.state == PreviewState.FAILED and "never came to its end" in row.sentence


def test_a_mistake_ends_in_words(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks, the row says so, and the worker goes on with the next one."""
    by = Principal.of(org.yasmine)
    make_request(org.dana)
    first, second = preview.ask(by, bundle(rule(days=1))), preview.ask(by, bundle(rule(days=2)))
    real, calls = comparing.compare, list[int]()

    def once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("secret of the engine")
        return real(*args, **kwargs)

    monkeypatch.setattr("approvals.policies.preview.compare", once)
    assert preview.run_due() == 2
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.sentence) == (PreviewState.FAILED, "It broke off (ZeroDivisionError).")
    assert second.state == PreviewState.DONE


@pytest.mark.django_db(transaction=True)
def test_two_workers_take_it_once(org: Org) -> None:
    """At the same instant."""
    preview.ask(Principal.of(org.yasmine), bundle())
    barrier = threading.Barrier(2)

    def claim() -> bool:
        barrier.wait(timeout=10)
        try:
            return preview.claim() is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        results = sorted(task.result(timeout=60) for task in [pool.submit(claim) for _ in range(2)])
    assert results == [False, True]


def test_drafts_and_the_gone_are_left_out(org: Org) -> None:
    """Only what was sent, and what lives."""
    make_request(org.dana, state="draft")
    endpoint = make_endpoint(org.dana)
    assert move(Endpoint.objects.filter(pk=endpoint.pk), Phase.PENDING, Phase.DELETED, field="phase")
    row = looked(org, bundle(rule(days=30)))
    assert (row.result["endpoints"], row.result["requests"]) == (0, 1)


def test_the_last_requests(org: Org, settings: Any) -> None:
    """As many as the setting says, the newest."""
    settings.POLICY_PREVIEW_REQUESTS = 1
    publish(org, rule(days=90))
    make_request(org.dana)
    newest = make_request(org.dana)
    row = looked(org, bundle(rule(days=30)))
    assert [one["id"] for one in row.result["changes"]] == [str(newest.pk)] and row.result["requests"] == 1


def test_queries_do_not_grow(org: Org, django_assert_max_num_queries: Any) -> None:
    """However many objects there are."""
    for _ in range(6):
        make_endpoint(org.dana)
    row = preview.ask(Principal.of(org.yasmine), bundle(rule(days=30)))
    with django_assert_max_num_queries(25):
        assert preview.run_due() == 1
    row.refresh_from_db()
    assert row.result["changed"] == Request.objects.count() + Endpoint.objects.count() == 12
    by = Principal.of(org.yasmine)
    with django_assert_max_num_queries(2):
        preview.lines(by, row)


def test_old_previews_go(org: Org) -> None:
    """After a month."""
    row = looked(org, bundle())
    assert preview.purge() == 0
    Preview.objects.filter(pk=row.pk).update(created_at=timezone.now() - dt.timedelta(days=31))
    assert preview.purge() == 1
