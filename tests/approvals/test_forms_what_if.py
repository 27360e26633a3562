"""Beside the form: other ways to run the same thing, with the very numbers of their plans, and what runs already."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from approvals import plan as plans
from approvals.bodies import parse
from approvals.models import Request
from approvals.views import live, what_if
from approvals.views.asking import EndpointForm
from endpoints import services as endpoint_services
from endpoints.models import Endpoint, EngineCount, Phase
from portal.templatetags.gatehouse import bytes_h, money
from quotas.limits import set_quotas
from quotas.models import UsageHour
from tests.conftest import Org
from tests.factories import (
    NEEDS,
    engineer,
    make_asset,
    make_cluster,
    make_endpoint,
    make_pool,
    make_profile,
    make_request,
    make_version,
)

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}
BIG = NEEDS | {"parameters": 8_000_000_000}


@pytest.fixture
def typed(org: Org) -> dict[str, str]:
    """A plan with everything to compare: two other profiles, a version with smaller weights, two replicas."""
    asset = make_asset("big", name="Big")
    make_version(asset=asset, version="1.0-fp8", needs=BIG | {"bytes_per_parameter": 1})
    make_version(asset=asset, version="1.0", needs=BIG)
    middle = make_profile(gpus=1, memory_gib=48, slug="middle", price="1.40")
    large = make_profile(gpus=2, memory_gib=80, slug="large", price="6.00")
    small = make_profile(gpus=1, memory_gib=16, slug="small", price="0.60")
    make_profile(gpus=1, memory_gib=80, slug="no-pool", price="0.01")
    make_pool(limit=4, profiles=[middle, large, small])
    return {
        "project": "fraud-detection", "name": "scoring", "asset": "big", "version": "1.0",
        "hardware_profile": "middle", "environment": "dev", "replicas": "2", "concurrency": "8",
        "context_tokens": "4096", "purpose": "Score.", "data_classification": "internal",
        "ends_on": (timezone.now().date() + dt.timedelta(days=60)).isoformat(),
    }  # fmt: skip


def rows(org: Org, typed: dict[str, str]) -> list[dict[str, Any]]:
    """The alternatives of what is typed."""
    form = EndpointForm(org.principal(org.dana), [org.fraud], typed)
    return what_if.alternatives(form, live.look(form))


def text_of(response: Any) -> str:
    """What a person reads, in one line."""
    return re.sub(r"\s+", " ", strip_tags(response.content.decode()))


def test_every_number_is_that_of_its_plan(org: Org, typed: dict[str, str]) -> None:
    """Each row is what plans.build says of the body with that change, looked up anew."""
    found = rows(org, typed)
    assert [row["words"] for row in found] == [
        "As typed", "On large", "Version 1.0-fp8, 1 byte a parameter, on small", "1 replica",
    ]  # fmt: skip
    for row in found:
        body = parse({"kind": "endpoint"} | what_if.used(typed, row["use"]))
        plan = plans.build(org.principal(org.dana), body)
        assert row["per_month"] == money(plan["cost"]["per_month"], plan["cost"]["currency"])
        assert row["gpus"] == plan["gpus"]["total"] and row["fits"] == plan["memory"]["fits"]
        needed, limit = plan["memory"]["needed_bytes"], plan["memory"]["limit_bytes"]
        assert (row["memory"], row["limit"]) == (bytes_h(needed), bytes_h(limit))
        assert ("queue" in row["room"]) == bool(plan["room"]["position"])
        failed = [check for check in plan["checks"] if check["verdict"] == "fail"]
        assert row["failed"] == len(failed)


def test_rules_that_change_are_named(org: Org, typed: dict[str, str]) -> None:
    """Fewer replicas pass the quota that two would break; one in prod warns."""
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 1}})
    one = next(row for row in rows(org, typed) if row["words"] == "1 replica")
    assert {(check["title"], check["verdict"]) for check in one["checks"]} == {
        ("Within the project's GPU quota", "pass")
    }
    assert one["difference"].startswith("−")
    in_prod = next(row for row in rows(org, typed | {"environment": "prod"}) if row["words"] == "1 replica")
    assert "warn" in {check["verdict"] for check in in_prod["checks"]}


def test_as_many_replicas_as_start_at_once(org: Org, typed: dict[str, str]) -> None:
    """Where the typed ones would wait; one alone is compared with two."""
    assert "4 replicas" in [row["words"] for row in rows(org, typed | {"replicas": "8"})]
    assert "2 replicas" in [row["words"] for row in rows(org, typed | {"replicas": "1"})]


def test_what_does_not_fit_is_no_alternative(org: Org, typed: dict[str, str]) -> None:
    """Too small, without a pool, or not served; when what is typed does not fit, the cheapest that does comes first."""
    found = rows(org, typed | {"hardware_profile": "small"})
    assert not found[0]["fits"] and found[1]["words"] == "On middle"
    assert {check["verdict"] for check in found[1]["checks"]} >= {"pass"}
    assert not any("no-pool" in row["words"] for row in found)
    cluster = make_cluster()
    cluster.environments = ["dev"]
    cluster.save()
    assert not [row for row in rows(org, typed | {"environment": "prod"}) if row["words"].startswith("On ")]


def test_no_plan_no_comparison(org: Org, typed: dict[str, str]) -> None:
    """Half a form, and other kinds."""
    assert rows(org, typed | {"asset": ""}) == []
    assert rows(org, typed | {"environment": ""}) == []


def test_use_this_fills_the_form_without_saving(org: Org, client_for: Clients, typed: dict[str, str]) -> None:
    """By a button of the form, with and without JavaScript; only the fields of an alternative can be filled so."""
    client = client_for(org.dana)
    page = client.post("/requests/new/", typed | {"action": "plan"})
    html = page.content.decode()
    uses = re.findall(r'name="use" value="([^"]+)"', html)
    assert "What if" in text_of(page) and len(uses) == 3
    use = next(use for use in uses if "version" in use).replace("&amp;", "&")
    for headers in ({}, HTMX):
        answer = client.post("/requests/new/", typed | {"action": "plan", "use": use}, headers=headers)
        html = answer.content.decode()
        assert answer.status_code == 200 and 'id="request-page"' in html and "filled in" in text_of(answer)
        assert re.search(r'<option value="1.0-fp8" selected', html) and re.search(
            r'<option value="small" selected', html
        )
        assert "Score." in html and 'data-guard="changed"' in html
    assert not Request.objects.exists()
    sly = client.post(
        "/requests/new/", typed | {"use": "purpose=x&project=search-ranking&replicas=%00&version=" + "9" * 900}
    )
    assert sly.status_code == 200 and "Score." in sly.content.decode()
    assert client.post("/requests/new/", typed | {"use": "%%%&&==\x00;"}).status_code == 200


def test_the_comparison_asks_the_database_nothing(
    org: Org, typed: dict[str, str], django_assert_num_queries: Any
) -> None:
    """However many rows it has."""
    form = EndpointForm(org.principal(org.dana), [org.fraud], typed)
    found = live.look(form)
    with django_assert_num_queries(0):
        assert len(what_if.alternatives(form, found)) == 4


# --- What runs already ----------------------------------------------------------------------------


def ready(endpoint: Endpoint) -> Endpoint:
    """As the reconciler leaves it when its engine answers."""
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, upstreams=[{"instance": "0-1-2"}])
    endpoint.refresh_from_db()
    return endpoint


def test_a_shared_endpoint_is_offered_first(org: Org, client_for: Clients) -> None:
    """With its load and its end, and a form that asks for it; nothing else of its project is told."""
    version = make_version()
    shared = ready(
        make_endpoint(org.cy, project="search-ranking", version=version, name="answers", purpose="Secret plan.")
    )
    closed = ready(make_endpoint(org.cy, project="search-ranking", version=version, name="closed"))
    endpoint_services.set_shareable(org.principal(org.cy), shared, True)
    now = timezone.now()
    EngineCount.objects.create(endpoint=shared, instance="0-1-2", at=now, running=3, waiting=1)
    EngineCount.objects.create(endpoint=shared, instance="old", at=now - dt.timedelta(hours=1), running=50)
    UsageHour.objects.create(
        project_id=org.search.pk, person="cy", key="gth_1", start=now.replace(minute=0, second=0, microsecond=0),
        endpoint_id=str(shared.pk), endpoint="answers", key_id="k", requests=1204,
    )  # fmt: skip
    client = client_for(org.dana)
    page = client.get("/requests/new/", {"asset": version.asset.slug, "project": "fraud-detection"})
    text = text_of(page)
    assert "search-ranking/answers runs this exact version" in text
    assert "3 of 8 parallel calls busy, 1 waiting; 1,204 calls since" in text and "Runs until" in text
    assert "closed" not in text and "Secret plan" not in text and closed.shareable is False
    link = re.search(r'href="([^"]*kind=access&amp;endpoint[^"]*)"', page.content.decode())
    assert link
    form = client.get(link.group(1).replace("&amp;", "&"))
    assert re.search(rf'<option value="{shared.pk}" selected', form.content.decode()) and "Load now" in text_of(form)


def test_what_one_may_call_already_is_opened(org: Org, client_for: Clients) -> None:
    """Own endpoints before granted ones before those to ask for."""
    version = make_version()
    own = ready(make_endpoint(org.dana, version=version, name="own"))
    shared = ready(make_endpoint(org.cy, project="search-ranking", version=version, name="shared"))
    ask = ready(make_endpoint(org.cy, project="search-ranking", version=version, name="ask"))
    for item in (shared, ask):
        endpoint_services.set_shareable(org.principal(org.cy), item, True)
    endpoint_services.share(org.principal(org.cy), shared, org.fraud, ends_on=None)
    html = client_for(org.dana).get("/requests/new/", {"asset": version.asset.slug}).content.decode()
    places = [html.index(words) for words in ("Open fraud-detection/own", "Open search-ranking/shared", "Ask to use ")]
    assert places == sorted(places) and f"/endpoints/{own.pk}/" in html and f"/endpoints/{shared.pk}/" in html
    begun = make_request(org.dana, state="draft", version=version)  # whoever goes on with it has seen the offer
    assert "You may not need" not in client_for(org.dana).get(f"/requests/{begun.pk}/edit/").content.decode()


def test_an_endpoint_that_is_offered_twice_is_shown_once(org: Org, client_for: Clients) -> None:
    """Own and shareable at the same time."""
    version = make_version()
    own = ready(make_endpoint(org.dana, version=version, name="own"))
    endpoint_services.set_shareable(org.principal(org.omar), own, True)
    html = client_for(org.dana).get("/requests/new/", {"asset": version.asset.slug}).content.decode()
    assert html.count("Open fraud-detection/own") == 1 and "Ask to use" not in html
