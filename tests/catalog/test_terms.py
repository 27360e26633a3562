"""Terms of licences: read once per project and wording, before the first key, on the page and by the API."""

import re

import pytest

from audit.models import Row
from catalog import terms
from catalog.evidence import licence
from catalog.models import Acknowledgement, Version
from endpoints.models import Desired, Endpoint, Phase, Revision
from endpoints.services import issue_key, playground_key, rotate_key, share
from portal.errors import Forbidden, Invalid
from projects.models import ApiKey
from projects.principal import Principal
from tests.factories import make_asset, make_endpoint, make_version

LLAMA = "LicenseRef-Llama-3.1-Community"
pytestmark = pytest.mark.slow


@pytest.fixture
def house(org, monkeypatch):
    """An endpoint under Llama's licence and one under Apache's."""
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    llama = make_version(asset=make_asset("llama"))
    make_endpoint(org.dana, version=llama, name="casework")
    make_endpoint(org.dana, version=make_version(asset=make_asset("granite")), name="scoring")
    Version.objects.filter(pk=llama.pk).update(licence=LLAMA)
    return org


def refused(by, project, endpoints, **also):
    with pytest.raises(Invalid) as caught:
        issue_key(Principal.of(by), project, "k", endpoints, **also)
    assert caught.value.code == "licence_not_acknowledged" and caught.value.status == 422
    return caught.value


def test_only_licences_with_terms_ask():
    assert licence.terms("Apache-2.0") == [] and licence.terms(f"Apache-2.0 OR {LLAMA}") == []
    (asked,) = licence.terms(LLAMA)
    assert asked.words and re.fullmatch("sha256:[0-9a-f]{64}", asked.digest)


def test_without_acknowledgement_there_is_no_key(house):
    error = refused(house.dana, house.fraud, ["casework"])
    (shown,) = error.extra["terms"]
    assert shown["licence"] == LLAMA and shown["terms"] == licence.terms(LLAMA)[0].words
    assert "acknowledge" in error.fields and LLAMA in error.sentence
    refused(house.dana, house.fraud, [])  # a key for everything reaches it too
    refused(house.dana, house.fraud, ["scoring", "casework"])
    assert not ApiKey.objects.exists() and not Acknowledgement.objects.exists()
    made, _ = issue_key(Principal.of(house.dana), house.fraud, "k", ["scoring"])
    assert made.name == "k"


def test_it_is_asked_once_per_project_and_audited(house):
    issue_key(Principal.of(house.dana), house.fraud, "k", ["casework"], acknowledge=[LLAMA])
    row = Acknowledgement.objects.get()
    assert (row.project, row.person, row.licence) == (house.fraud, house.dana, LLAMA)
    audit = Row.objects.get(action="catalog.acknowledge")
    assert audit.project == "fraud-detection" and licence.terms(LLAMA)[0].digest in audit.after
    issue_key(Principal.of(house.omar), house.fraud, "k2", ["casework"])
    issue_key(Principal.of(house.omar), house.fraud, "k3", [])
    assert Acknowledgement.objects.count() == 1 and Row.objects.filter(action="catalog.acknowledge").count() == 1


def test_other_words_are_asked_again(house, monkeypatch):
    issue_key(Principal.of(house.dana), house.fraud, "k", ["casework"], acknowledge=[LLAMA])
    changed = licence.Terms(LLAMA, "Llama", "Other words.", "sha256:" + "0" * 64)
    monkeypatch.setattr(terms, "terms", lambda expression: [changed] if expression == LLAMA else [])
    assert refused(house.dana, house.fraud, ["casework"]).extra["terms"][0]["terms"] == "Other words."
    issue_key(Principal.of(house.dana), house.fraud, "k2", ["casework"], acknowledge=[LLAMA])
    assert Acknowledgement.objects.count() == 2


def test_a_refused_key_acknowledges_nothing(house):
    with pytest.raises(Invalid) as caught:
        issue_key(Principal.of(house.dana), house.fraud, "", ["casework"], acknowledge=[LLAMA])
    assert "name" in caught.value.fields and not Acknowledgement.objects.exists()
    with pytest.raises(Forbidden):
        issue_key(Principal.of(house.vic), house.fraud, "k", ["casework"], acknowledge=[LLAMA])
    refused(house.dana, house.fraud, ["casework"], acknowledge=["MIT", "", "x" * 500])
    assert not Acknowledgement.objects.exists() and not Row.objects.filter(action="catalog.acknowledge").exists()


def test_the_other_project_reads_for_itself(house):
    """A shared endpoint: each project acknowledges the terms for its own keys."""
    row = Endpoint.objects.get(name="casework")
    Endpoint.objects.filter(pk=row.pk).update(shareable=True)
    issue_key(Principal.of(house.dana), house.fraud, "k", ["casework"], acknowledge=[LLAMA])
    share(Principal.of(house.omar), Endpoint.objects.get(pk=row.pk), house.search, ends_on=None)
    refused(house.cy, house.search, ["fraud-detection/casework"])
    refused(house.cy, house.search, [])
    issue_key(Principal.of(house.cy), house.search, "k", [], acknowledge=[LLAMA])
    assert Acknowledgement.objects.filter(project=house.search, person=house.cy).exists()


def test_the_playground_asks_too(house):
    row = Endpoint.objects.get(name="casework")
    ready = Endpoint(
        pk=row.pk, project=row.project, name=row.name, phase=Phase.READY, desired=Desired.RUNNING, upstreams=[{}]
    )
    with pytest.raises(Invalid) as caught:
        playground_key(Principal.of(house.dana), ready)
    assert caught.value.code == "licence_not_acknowledged" and "Make a key" in caught.value.sentence
    issue_key(Principal.of(house.dana), house.fraud, "k", ["casework"], acknowledge=[LLAMA])
    assert playground_key(Principal.of(house.dana), ready)[0].purpose == "playground"


def test_a_key_from_before_is_rotated_only_when_the_terms_are_known(house):
    dana, row = Principal.of(house.dana), Endpoint.objects.get(name="casework")
    Version.objects.filter(asset__slug="llama").update(licence="Apache-2.0")
    key, _ = issue_key(dana, house.fraud, "everything", [])
    Version.objects.filter(asset__slug="llama").update(licence=LLAMA)
    with pytest.raises(Invalid) as caught:
        rotate_key(dana, key)
    assert caught.value.code == "licence_not_acknowledged"
    key.refresh_from_db()
    assert key.state == "active", "the old one works on"
    bound, _ = issue_key(dana, house.fraud, "bound", ["scoring"])
    rotate_key(dana, bound)
    issue_key(dana, house.fraud, "casework", [row.name], acknowledge=[LLAMA])
    rotate_key(dana, key)


def test_what_is_being_rolled_out_counts(house):
    row = Endpoint.objects.get(name="scoring")
    version = Version.objects.get(asset__slug="llama")
    assert row.revision is not None
    following = Revision.objects.create(
        endpoint=row,
        number=2,
        version=version,
        profile=row.revision.profile,
        replicas=1,
        concurrency=1,
        context_tokens=1,
    )
    Endpoint.objects.filter(pk=row.pk).update(next_revision=following)
    refused(house.dana, house.fraud, ["scoring"])


def test_the_form_shows_the_words_and_keeps_what_was_typed(house, client_for):
    client, url = client_for(house.dana), "/projects/fraud-detection/keys/new/"
    page = client.get(url).content.decode()
    assert "Acceptable Use Policy" in page and f'name="acknowledge" value="{LLAMA}"' in page
    form = {"name": "desk", "endpoint": "casework", "days": "30"}
    again = client.post(url, form)
    assert again.status_code == 422 and b"tick the box" in again.content and b'value="desk"' in again.content
    assert not ApiKey.objects.exists()
    made = client.post(url, form | {"acknowledge": LLAMA})
    assert made.status_code == 200 and b"gth_" in made.content
    assert "acknowledge" not in client.get(url).content.decode(), "it is asked once"


def test_the_api_answers_the_words(house, api_for):
    client, path = api_for(house.dana, "endpoints:write"), "/projects/fraud-detection/keys"
    answer = client.post(path, {"name": "k", "endpoints": ["casework"]})
    body = answer.json()
    assert answer.status_code == 422 and body["code"] == "licence_not_acknowledged"
    assert body["terms"][0]["licence"] == LLAMA and body["terms"][0]["terms"]
    assert body["errors"][0]["field"] == "acknowledge"
    assert client.post(path, {"name": "k", "endpoints": ["casework"], "acknowledge": "yes"}).status_code == 422
    assert client.post(path, {"name": "k", "endpoints": ["casework"], "acknowledge": ["x"] * 30}).status_code == 422
    assert client.post(path, {"name": "k", "endpoints": ["casework"], "acknowledge": [LLAMA]}).status_code == 201
    assert client.post(path, {"name": "k2", "endpoints": ["casework"]}).status_code == 201
