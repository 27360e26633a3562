"""The lists of endpoints and keys: filters, order, columns, the file, and acting on many."""

import csv
import datetime as dt
import io
import re
import uuid
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import Row
from endpoints.models import Desired, Endpoint, Phase
from endpoints.services import issue_key
from projects.models import ApiKey, KeyState
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import make_asset, make_endpoint, make_profile, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
ENDPOINTS, BULK = "/endpoints/", "/endpoints/bulk/"
KEYS, KEY_BULK = "/projects/fraud-detection/keys/", "/projects/fraud-detection/keys/bulk/"


@pytest.fixture
def three(org: Org) -> dict[str, Endpoint]:
    """Three of fraud-detection: one failed, one in staging without an end."""
    profile = make_profile(slug="cpu")
    made = {
        name: make_endpoint(
            org.dana,
            name=name,
            version=make_version(asset=make_asset(f"{name}-model", name=f"Model of {name}")),
            profile=profile,
            environment="staging" if name == "beta" else "dev",
        )
        for name in ("alpha", "beta", "gamma")
    }
    today = timezone.now().date()
    Endpoint.objects.filter(name="alpha").update(ends_on=today + dt.timedelta(days=9), contact=org.omar)
    Endpoint.objects.filter(name="beta").update(ends_on=None, desired=Desired.SUSPENDED, phase=Phase.SUSPENDED)
    Endpoint.objects.filter(name="gamma").update(ends_on=today + dt.timedelta(days=3), phase=Phase.FAILED)
    for endpoint in made.values():
        endpoint.refresh_from_db()
    return made


def shown(html: str) -> list[str]:
    return re.findall(r'href="/endpoints/[0-9a-f-]{36}/">([a-z]+)</a>', html)


def test_filters_and_order(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    client = client_for(org.dana)
    for query, expected in (
        ("", ["alpha", "beta", "gamma"]),
        ("sort=-endpoint", ["gamma", "beta", "alpha"]),
        ("sort=until", ["gamma", "alpha", "beta"]),  # no end comes last
        ("sort=-until", ["alpha", "gamma", "beta"]),
        ("sort=-model", ["gamma", "beta", "alpha"]),
        ("sort=contact&columns=contact", ["beta", "gamma", "alpha"]),
        ("q=model of b", ["beta"]),
        ("q=ALPHA", ["alpha"]),
        ("q=fraud", ["alpha", "beta", "gamma"]),
        ("phase=failed", ["gamma"]),
        ("environment=staging", ["beta"]),
        ("environment=staging&phase=failed", []),
    ):
        Endpoint.objects.filter(name__in=["beta", "gamma"]).update(contact=org.dana)
        html = client.get(f"{ENDPOINTS}?{query}").content.decode()
        assert shown(html) == expected, query


def test_deleted_ones_only_when_asked_for(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    Endpoint.objects.filter(name="alpha").update(phase=Phase.DELETED, desired=Desired.DELETED)
    client = client_for(org.dana)
    assert shown(client.get(ENDPOINTS).content.decode()) == ["beta", "gamma"]
    assert shown(client.get(f"{ENDPOINTS}?phase=deleted").content.decode()) == ["alpha"]


def test_columns_are_chosen_in_the_address(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    html = client_for(org.dana).get(f"{ENDPOINTS}?columns=contact,cluster").content.decode()
    assert 'data-label="Contact"' in html and 'data-label="Cluster"' in html and 'data-label="Endpoint"' in html
    assert 'data-label="State"' not in html and "omar" in html


def test_the_file(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    answer = client_for(org.dana).get(f"{ENDPOINTS}?format=csv&sort=until&columns=state,until,calls")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert list(rows[0]) == ["endpoint", "id", "phase", "wanted", "reason", "environment", "calls_24h", "ends_on"]
    assert [row["endpoint"] for row in rows] == ["gamma", "alpha", "beta"] and rows[0]["phase"] == "failed"
    assert rows[2]["ends_on"] == "" and rows[0]["ends_on"] == three["gamma"].ends_on.isoformat()  # type: ignore[union-attr]
    stranger = client_for(org.cy).get(f"{ENDPOINTS}?format=csv")
    assert b"".join(stranger).count(b"\r\n") == 1


def test_suspending_many_asks_first_and_counts(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    """The first POST only asks; a wrong word asks again; the right one suspends, one result per row."""
    client = client_for(org.dana)
    ids = [str(three[name].pk) for name in ("alpha", "beta", "gamma")] + [str(uuid.uuid4())]
    form = {"action": "suspend", "id": ids, "next": f"{ENDPOINTS}?q=a"}
    asks = client.post(BULK, form).content.decode()
    assert "Suspend 4 endpoints?" in asks and "<strong>0 calls</strong>" in asks and "<code>suspend 4</code>" in asks
    assert all(f'name="id" value="{key}"' in asks for key in ids) and "fraud-detection/alpha" in asks
    wrong = client.post(BULK, form | {"confirm": "suspend"})
    assert wrong.status_code == 422 and "Type suspend 4 exactly as it is written." in wrong.content.decode()
    assert not Row.objects.filter(action="endpoints.suspend").exists()
    html = client.post(BULK, form | {"confirm": "suspend 4"}).content.decode()
    assert (
        "2 of 4 done, 2 refused" in html and "it cannot be suspended now" in html and f'href="{ENDPOINTS}?q=a"' in html
    )
    assert "There is no such endpoint, or you may not see it." in html
    assert set(Endpoint.objects.values_list("desired", flat=True)) == {Desired.SUSPENDED}
    assert Row.objects.filter(action="endpoints.suspend").count() == 2


def test_resuming_many(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    ids = [str(three[name].pk) for name in ("alpha", "beta")]
    html = client_for(org.dana).post(BULK, {"action": "resume", "id": ids}).content.decode()
    assert "1 of 2 done, 1 refused" in html
    assert Endpoint.objects.get(name="beta").desired == Desired.RUNNING


def test_who_may_act_on_many(org: Org, client_for: Clients, three: dict[str, Endpoint]) -> None:
    """Readers have neither ticks nor the door; a stranger with a project of their own finds nothing."""
    form = {"action": "resume", "id": [str(three["beta"].pk)]}
    for person in (org.vic, org.aud, org.yasmine):
        client = client_for(person)
        assert "data-tick" not in client.get(ENDPOINTS).content.decode()
        assert client.post(BULK, form).status_code == 403
    html = client_for(org.cy).post(BULK, form).content.decode()
    assert "0 of 1 done, 1 refused" in html and "fraud-detection" not in html
    assert client_for(org.dana).get(ENDPOINTS).content.decode().count('name="id"') == 3
    for wrong in ({"action": "resume"}, {"action": "delete", "id": "x"}, {"id": "x"}):
        assert client_for(org.dana).post(BULK, wrong).status_code == 422
    assert Endpoint.objects.get(name="beta").desired == Desired.SUSPENDED


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(org: Org) -> dict[str, ApiKey]:
    dana, omar = Principal.of(org.dana), Principal.of(org.omar)
    made = {
        "batch": issue_key(dana, org.fraud, "batch", [], None, 30)[0],
        "app": issue_key(dana, org.fraud, "app", [], None, 7)[0],
        "theirs": issue_key(omar, org.fraud, "theirs", [], None, 90)[0],
    }
    ApiKey.objects.filter(name="app").update(last_used_at=timezone.now())
    return made


def names(html: str) -> list[str]:
    return re.findall(r'data-label="Name"><span class="gh-two"><span>([^<]*)<', html)


def test_keys_filter_and_order(org: Org, client_for: Clients, keys: dict[str, ApiKey]) -> None:
    client = client_for(org.dana)
    for query, expected in (
        ("", ["theirs", "app", "batch"]),
        ("sort=name", ["app", "batch", "theirs"]),
        ("sort=expires", ["app", "batch", "theirs"]),
        ("sort=-used&mine=1", ["app", "batch"]),  # never used comes last
        ("q=omar", ["theirs"]),
        (f"q={keys['batch'].prefix}", ["batch"]),
        ("state=revoked", []),
    ):
        html = client.get(f"{KEYS}?{query}").content.decode()
        assert names(html) == expected, query
    assert "No key matches" in html
    assert keys["app"].prefix in b"".join(client.get(f"{KEYS}?format=csv")).decode()
    assert "hash" not in b"".join(client.get(f"{KEYS}?format=csv&columns=scopes,created")).decode()


def test_revoking_many_asks_first(org: Org, client_for: Clients, keys: dict[str, ApiKey]) -> None:
    """Developers end their own; every other row is refused; whoever owns the project ends all."""
    dana, ids = client_for(org.dana), [str(key.pk) for key in keys.values()]
    page = dana.get(KEYS).content.decode()
    assert page.count('name="id"') == 2 and f'value="{keys["theirs"].pk}" data-tick' not in page
    asks = dana.post(KEY_BULK, {"action": "revoke", "id": ids}).content.decode()
    assert "Revoke 3 keys?" in asks and "never used" in asks and f"batch ({keys['batch'].prefix})" in asks
    assert set(ApiKey.objects.values_list("state", flat=True)) == {KeyState.ACTIVE}
    html = dana.post(KEY_BULK, {"action": "revoke", "id": ids, "confirm": "revoke 3"}).content.decode()
    assert "2 of 3 done, 1 refused" in html and "Developers revoke only their own keys" in html
    html = client_for(org.omar).post(KEY_BULK, {"action": "revoke", "id": ids, "confirm": "revoke 3"}).content.decode()
    assert "1 of 3 done, 2 refused" in html
    assert set(ApiKey.objects.values_list("state", flat=True)) == {KeyState.REVOKED}


def test_keys_of_another_project_are_not_there(org: Org, client_for: Clients, keys: dict[str, ApiKey]) -> None:
    other, _ = issue_key(Principal.of(org.cy), org.search, "foreign", [])
    form = {"action": "revoke", "id": str(other.pk), "confirm": "revoke 1"}
    html = client_for(org.omar).post(KEY_BULK, form).content.decode()
    assert "There is no such key in fraud-detection" in html and "foreign" not in html
    assert client_for(org.vic).post(KEY_BULK, form).status_code == 403
    assert client_for(org.cy).post(KEY_BULK, form).status_code == 404
    other.refresh_from_db()
    assert other.state == KeyState.ACTIVE
