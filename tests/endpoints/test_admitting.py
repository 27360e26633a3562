"""Choosing whether a cluster refuses: a step at a time, only on what the last test saw. Page, file, API, command."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Row
from endpoints.clusters import rbac
from endpoints.clusters.checks import Check, Report
from endpoints.drivers import place as place_of
from endpoints.fleet import admitting, examining, registering, rendering
from endpoints.models import Cluster
from portal.errors import Conflict, Forbidden, Invalid
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.factories import make_cluster, make_place

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def place(org: Org) -> Cluster:
    return make_place(org.pat)


def seen(cluster: Cluster, state: str, account: str = "") -> Cluster:
    """What a worker would have written after a whole test."""
    checks = (
        Check("credential", "pass", "Known.", state=account),
        Check(
            "admission", "pass" if state in ("audit", "enforce") else "warn", f"It is {state}.", "Apply.", state=state
        ),
        Check("metrics", "pass", "Served."),
    )
    examining.keep(cluster, Report(checks, seen=True), timezone.now())
    cluster.refresh_from_db()
    return cluster


def choose(org: Org, cluster: Cluster, mode: str, reason: str = "As agreed.") -> Cluster:
    return admitting.set_mode(Principal.of(org.pat), cluster, mode=mode, reason=reason)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(Conflict) as raised:
        call()
    return raised.value.code


def test_the_way_is_off_audit_enforce_and_back_each_with_its_row(org: Org, place: Cluster) -> None:
    assert refused(lambda: choose(org, place, "enforce")) == "admission_step"
    place = choose(org, place, "audit")
    assert place.asked_at is not None, "a test is asked for"
    for state in ("", "none", "audit stale", "enforce stale"):
        seen(place, state)
        assert refused(lambda: choose(org, place, "enforce")) == "admission_not_seen", state
    place = choose(org, seen(place, "audit"), "enforce", "All quiet for a week.")
    assert refused(lambda: choose(org, place, "off")) == "admission_step"
    place = choose(org, seen(place, "enforce"), "audit")
    for state in ("enforce", "enforce stale"):
        seen(place, state)
        assert refused(lambda: choose(org, place, "off")) == "admission_refuses", state
    place = choose(org, seen(place, "audit"), "off")
    rows = Row.objects.filter(action="clusters.admission").order_by("pk")
    assert [(json.loads(row.before)["admission"], json.loads(row.after)["admission"]) for row in rows] == [
        ("off", "audit"), ("audit", "enforce"), ("enforce", "audit"), ("audit", "off"),
    ]  # fmt: skip
    assert rows[1].reason == "All quiet for a week." and {row.actor for row in rows} == {Principal.of(org.pat).key}
    choose(org, place, "off")
    assert rows.count() == 4, "the same again changes nothing"


def test_who_may_not_and_what_is_wrong(org: Org, place: Cluster) -> None:
    for who in (org.omar, org.aud, org.yasmine):
        with pytest.raises(Forbidden):
            admitting.set_mode(Principal.of(who), place, mode="audit", reason="x")
    for mode, reason, field in (("deny", "x", "mode"), ("audit", " ", "reason"), ("audit", "x" * 301, "reason")):
        with pytest.raises(Invalid) as raised:
            choose(org, place, mode, reason)
        assert field in raised.value.fields
    assert refused(lambda: choose(org, make_cluster(), "audit")) == "no_admission"
    place.refresh_from_db()
    assert place.admission == "off" and not Row.objects.filter(action="clusters.admission").exists()


def test_what_runs_is_looked_at_again(org: Org, place: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = open_demo(org.fraud)
    endpoint.cluster = place
    endpoint.save(update_fields=["cluster"])
    sent: list[Any] = []
    monkeypatch.setattr(admitting, "nudge", sent.append)
    choose(org, place, "audit")
    assert sent == [endpoint.pk]


def test_the_driver_hears_of_the_mode_and_the_test_of_what_is_expected(
    org: Org, place: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def examined(*_: Any, **more: Any) -> Report:
        asked.append(more)
        return Report(())

    monkeypatch.setattr(examining, "import_string", lambda path: examined)
    examining.examine(place)
    assert place_of(place).settings["admission"] == "off" and asked == [{"whole": True}]
    place = choose(org, place, "audit")
    examining.examine(place)
    examining.examine(place, whole=False)
    assert place_of(place).settings["admission"] == "audit" and asked[2] == {"whole": False}
    assert asked[1]["policies"] == rendering.rendered(place).objects


def test_it_is_rendered_for_prefix_account_and_kserve_of_the_cluster(org: Org, place: Cluster) -> None:
    first = rendering.plan(place)
    assert (first.prefix, first.account) == ("gatehouse", rbac.USER) and len(first.rules) >= 4
    registering.change(
        Principal.of(org.pat),
        place,
        options={"namespace_prefix": "blue", "kserve_namespace": "redhat-ods-applications"},
    )
    place.refresh_from_db()
    plan = rendering.plan(seen(place, "audit", "system:serviceaccount:apps:portal"))
    assert (plan.prefix, plan.account) == ("blue", "system:serviceaccount:apps:portal")
    assert plan.controllers[0] == "system:serviceaccount:redhat-ods-applications:kserve-controller-manager"


def text(response: Any) -> str:
    assert response.status_code in {200, 409, 422}, response.status_code
    return re.sub(r"\s+", " ", response.content.decode())


def test_the_page_says_what_is_refused_and_offers_the_file_once_it_is_on(
    org: Org, place: Cluster, client_for: Callable[[Any], Client]
) -> None:
    pat, aud = client_for(org.pat), client_for(org.aud)
    page = text(pat.get("/clusters/outpost/"))
    assert "Admission policy" in page and "wrk-002: Containers have a memory limit" in page
    assert "/admission/manifest/" not in page and "admission=" not in page
    form = text(pat.get("/clusters/outpost/admission/"))
    assert 'value="audit"' in form and 'value="enforce"' not in form
    wrong = pat.post("/clusters/outpost/admission/", {"mode": "audit", "reason": ""})
    assert wrong.status_code == 422 and "reason" in text(wrong)
    assert pat.post("/clusters/outpost/admission/", {"mode": "audit", "reason": "Look first."}).status_code == 302
    page = text(pat.get("/clusters/outpost/"))
    assert "/clusters/outpost/admission/manifest/" in page and "admission=audit" in page
    assert "Audit is" not in page and "records and warns" in page and "Not known" in page
    refusal = pat.post("/clusters/outpost/admission/", {"mode": "enforce", "reason": "Now."})
    assert refusal.status_code == 409 and "did not see" in text(refusal)
    assert "Not installed" in text((seen(place, "none"), pat.get("/clusters/outpost/"))[1])
    assert "Change the mode" not in text(aud.get("/clusters/outpost/"))
    file = aud.get("/clusters/outpost/admission/manifest/")
    assert "gatehouse-admission.yaml" in file["Content-Disposition"]
    assert file.content.decode() == rendering.manifest(Cluster.objects.get(slug="outpost"))
    make_cluster()
    assert pat.get("/clusters/local/admission/").status_code == 409
    assert "Admission policy" not in text(pat.get("/clusters/local/"))
    account = pat.get("/clusters/access/kubernetes/?admission=audit&namespace_prefix=blue").content.decode()
    assert "blue-approved" in account
    hostile = pat.get(
        "/clusters/access/kubernetes/?admission=audit&namespace_prefix=a%0A- verbs: ['*']"
    ).content.decode()
    assert hostile == rbac.manifest("kubernetes", {"admission": "audit"})


def test_the_page_asks_the_database_once_more_and_no_more(
    org: Org, place: Cluster, client_for: Callable[[Any], Client]
) -> None:
    pat = client_for(org.pat)
    pat.get("/clusters/outpost/")
    with CaptureQueriesContext(
        connection,
    ) as found:
        pat.get("/clusters/outpost/")
    assert len(found) <= 15


def test_the_api_has_all_of_it(org: Org, place: Cluster, api_for: Any) -> None:
    pat = api_for(org.pat, "admin", "endpoints:read")
    told = pat.get("/clusters/outpost/admission").json()
    assert (told["mode"], told["seen"], told["not_rendered"]) == ("off", "", [])
    assert next(yaml.safe_load_all(told["manifest"]))["kind"] == "CustomResourceDefinition"
    changed = pat.post("/clusters/outpost/admission", {"mode": "audit", "reason": "Look first."})
    assert changed.status_code == 200 and changed.json()["mode"] == "audit"
    assert pat.get("/clusters/outpost").json()["admission"] == "audit"
    early = pat.post("/clusters/outpost/admission", {"mode": "enforce", "reason": "Now."})
    assert early.status_code == 409 and early.json()["code"] == "admission_not_seen"
    assert pat.post("/clusters/outpost/admission", {"mode": "audit"}).status_code == 422
    assert "admission" not in api_for(org.dana, "endpoints:read").get("/clusters/outpost").json()


def test_the_command_writes_the_file_and_names_what_is_not_in_it(
    org: Org, place: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("render_admission", "outpost", stdout=out, stderr=err)
    assert out.getvalue() == rendering.manifest(place) and err.getvalue() == ""
    version, rules = "team 4", (*rendering.plan(place).rules,)
    odd = rules[0].__class__("wrk-9", "Pinned", "deny", "version.pinned", "It is not.")
    monkeypatch.setattr(rendering, "import_string", lambda path: lambda: (version, (*rules, odd)))
    call_command("render_admission", "outpost", stdout=out, stderr=err)
    assert "wrk-9 is not in it, since it reads version" in err.getvalue() and "team 4" in out.getvalue()
    make_cluster()
    for slug, words in (("nobody", "no cluster nobody"), ("local", "runs on this machine")):
        with pytest.raises(CommandError, match=words):
            call_command("render_admission", slug, stdout=out, stderr=err)
