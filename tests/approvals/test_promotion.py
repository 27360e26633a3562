"""From dev to staging to prod: the form, the request that holds exactly the difference, and what approval opens."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from approvals import services
from approvals.models import Request
from endpoints import promoting
from endpoints.models import Endpoint, Revision, RevisionOutcome
from portal.errors import Invalid
from projects.principal import Principal
from tests import factories
from tests.conftest import Org

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.mark.parametrize(
    ("name", "environment", "to", "expected"),
    [
        ("scoring", "dev", "staging", "scoring-staging"),
        ("scoring-dev", "dev", "prod", "scoring-prod"),
        ("scoring-staging", "staging", "prod", "scoring-prod"),
        ("dev", "dev", "prod", "dev-prod"),
        ("a" * 40, "dev", "staging", "a" * 32 + "-staging"),
    ],
)
def test_the_name_in_another_environment(name: str, environment: str, to: str, expected: str) -> None:
    assert promoting.name_in(name, environment, to) == expected and len(expected) <= 40


@pytest.fixture
def source(org: Org) -> Endpoint:
    version = factories.make_version(asset=factories.make_asset("granite"), version="2.0")
    made = factories.make_endpoint(org.dana, version=version, name="scoring", context_tokens=8192, concurrency=4)
    return made


def typed(html: str) -> dict[str, str]:
    """The fields of a form as a browser would send them."""
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name:
            found[name[1]] = value[1] if value else ""
    for name, inner in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', html, re.DOTALL):
        chosen = re.search(r'<option[^>]*value="([^"]*)"[^>]*selected', inner)
        found[name] = chosen[1] if chosen else ""
    for name, inner in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', html, re.DOTALL):
        found[name] = inner.strip()
    return found


def form(client: Client, address: str) -> dict[str, str]:
    response = client.get(address, follow=True)
    assert response.status_code == 200
    html = response.content.decode()
    start = html.index('id="request-form"')
    return typed(html[start:])


def sent(client: Client, kind: str, fields: dict[str, str]) -> Request:
    response = client.post(f"/requests/new/?kind={kind}", {**fields, "action": "send"})
    assert response.status_code == 302, re.findall(r"gh-error[^<]*<[^<]*", response.content.decode())[:5]
    return Request.objects.latest("pk")


def test_a_new_endpoint_in_the_next_environment(source: Endpoint, org: Org, client_for: Any) -> None:
    fields = form(client_for(org.dana), f"/endpoints/{source.pk}/promote/")
    assert (fields["name"], fields["environment"], fields["version"]) == ("scoring-staging", "staging", "2.0")
    assert (fields["context_tokens"], fields["concurrency"]) == ("8192", "4")
    assert fields["promoted_from"] == str(source.pk) and fields["project"] == "fraud-detection"
    made = sent(client_for(org.dana), "endpoint", fields)
    assert made.body["promoted_from"] == str(source.pk)
    promotion = made.plan["promotion"]
    assert promotion["from"]["name"] == "scoring" and promotion["differs"] == [] and promotion["to"] == "staging"
    page = client_for(org.dana).get(f"/requests/{made.pk}/").content.decode()
    assert "Promoted from scoring in dev, revision 1" in page
    opened = services.approve(factories.engineer(), made, reason="Go.").endpoint
    assert opened is not None and opened.promoted_from_id == source.pk and opened.name == "scoring-staging"


def test_what_is_promoted_is_not_offered_in_its_stead(source: Endpoint, org: Org, client_for: Any) -> None:
    assert source.revision is not None
    Endpoint.objects.filter(pk=source.pk).update(phase="ready", upstreams=[{"url": "http://127.0.0.1:9"}])
    version = source.revision.version
    asked, words = (
        f"/requests/new/?asset={version.asset.slug}&version={version.version}",
        "You may not need a new endpoint",
    )
    assert words in client_for(org.dana).get(asked).content.decode()
    promoting = client_for(org.dana).get(f"/endpoints/{source.pk}/promote/", follow=True).content.decode()
    assert "scoring-staging" in promoting and words not in promoting
    made = sent(client_for(org.dana), "endpoint", form(client_for(org.dana), f"/endpoints/{source.pk}/promote/"))
    assert made.plan["sharing"]["offers"] == []


def test_a_revision_that_holds_exactly_the_difference(source: Endpoint, org: Org, client_for: Any) -> None:
    assert source.revision is not None
    older = factories.make_version(asset=source.revision.version.asset, version="1.0")
    staging = factories.make_endpoint(
        org.dana, version=older, name="scoring-staging", environment="staging", replicas=3, concurrency=4,
    )  # fmt: skip
    Revision.objects.filter(endpoint=staging).update(outcome=RevisionOutcome.WORKED)
    Endpoint.objects.filter(pk=staging.pk).update(phase="ready")
    fields = form(client_for(org.dana), f"/endpoints/{source.pk}/promote/?to=staging")
    assert fields["endpoint"] == str(staging.pk) and fields["replicas"] == "3", "the size is staging's own"
    made = sent(client_for(org.dana), "revision", fields | {"purpose": "The new model."})
    assert {one["field"]: (one["before"], one["after"]) for one in made.plan["changes"]} == {
        "version": ("1.0", "2.0"), "context_tokens": (4096, 8192),
    }  # fmt: skip
    assert {one["field"] for one in made.plan["promotion"]["differs"]} == {"hardware_profile", "replicas"}
    services.approve(factories.engineer(), made, reason="Go.")
    staging.refresh_from_db()
    assert staging.promoted_from_id == source.pk


def test_the_same_by_the_api(source: Endpoint, org: Org, api_for: Any) -> None:
    body = factories.request_body(
        asset="granite", version="2.0", hardware_profile=source.revision.profile.slug,  # type: ignore[union-attr]
        name="scoring-prod", environment="prod", replicas=2, promoted_from=str(source.pk),
    )  # fmt: skip
    made = api_for(org.dana, "requests:write").post("/requests", body)
    assert made.status_code == 201, made.content
    found = json.loads(made.content)
    assert found["promoted_from"] == str(source.pk)
    assert {one["field"] for one in found["plan"]["promotion"]["differs"]} == {
        "replicas", "concurrency", "context_tokens",
    }  # fmt: skip


@pytest.mark.parametrize("given", ["nonsense", "11111111-1111-4111-8111-111111111111", True, "x" * 41])
def test_what_is_no_endpoint_is_said_at_the_field(org: Org, given: Any) -> None:
    version = factories.make_version()
    factories.make_cluster()
    body = factories.request_body(
        asset=version.asset.slug, hardware_profile=factories.make_profile().slug, promoted_from=given
    )
    with pytest.raises(Invalid) as caught:
        services.send(Principal.of(org.dana), body)
    assert "promoted_from" in caught.value.fields


def test_promotion_stays_in_a_project_and_leaves_an_environment(source: Endpoint, org: Org) -> None:
    slug = source.revision.profile.slug  # type: ignore[union-attr]
    body = factories.request_body(asset="granite", version="2.0", hardware_profile=slug, promoted_from=str(source.pk))
    with pytest.raises(Invalid) as caught:
        services.send(Principal.of(org.dana), body)
    assert "in dev itself" in caught.value.fields["promoted_from"]
    with pytest.raises(Invalid) as caught:
        services.send(Principal.of(org.cy), body | {"project": "search-ranking", "environment": "staging"})
    assert "no endpoint of search-ranking" in caught.value.fields["promoted_from"]


def test_a_body_without_promotion_is_digested_as_before(org: Org) -> None:
    made = factories.make_request(org.dana)
    assert "promoted_from" not in made.body


def test_the_last_environment_leads_nowhere_by_itself(source: Endpoint, org: Org, client_for: Any) -> None:
    Endpoint.objects.filter(pk=source.pk).update(environment="prod")
    assert client_for(org.dana).get(f"/endpoints/{source.pk}/promote/").status_code == 422
    assert client_for(org.dana).get(f"/endpoints/{source.pk}/promote/?to=dev").status_code == 302
    assert client_for(org.vic).get(f"/endpoints/{source.pk}/promote/?to=dev").status_code == 403
