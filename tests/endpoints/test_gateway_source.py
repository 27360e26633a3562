"""What the gateway reads from the real database, and how soon a change there reaches a call."""

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from endpoints.gateways.builtin.directory import POLL_SECONDS
from endpoints.gateways.builtin.source import DatabaseSource
from endpoints.models import Desired, Endpoint, Phase
from portal import crypto
from portal.states import move
from projects import epoch, keys
from projects.models import ApiKey, Membership
from tests.conftest import Org
from tests.endpoints.gateway_kit import Engine, Running, ordinary, serving, until
from tests.factories import make_cluster

pytestmark = pytest.mark.slow

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}


def endpoint(org: Org, name: str = "scoring", *urls: str, **fields: Any) -> Endpoint:
    """A row as reconciling leaves it when the engine is ready."""
    upstreams = [{"url": url, "key": crypto.encrypt("engine-key")} for url in urls]
    defaults = {"environment": "dev", "cluster": make_cluster(), "phase": Phase.READY, "project": org.fraud}
    return Endpoint.objects.create(name=name, upstreams=upstreams, **(defaults | fields))


def issue(org: Org, *targets: Endpoint, **fields: Any) -> tuple[ApiKey, str]:
    """A key of dana."""
    return keys.issue(
        org.principal(org.dana),
        project=org.fraud,
        name="test",
        scopes=fields.pop("scopes", ["inference:invoke"]),
        targets=[("endpoint", str(target.pk)) for target in targets],
        **fields,
    )


def read(key: ApiKey) -> Any:
    return DatabaseSource().key(key.hash)[1]


def test_a_key_with_its_project_scopes_targets_and_person(org: Org) -> None:
    one = endpoint(org)
    key, secret = issue(org, one, purpose="playground")
    record = read(key)
    assert (record.project, record.person, record.purpose, record.prefix) == (
        "fraud-detection", "dana", "playground", key.prefix,
    )  # fmt: skip
    assert record.scopes == {"inference:invoke"}
    assert record.targets == {str(one.pk)}
    assert record.admits
    assert record.expires_at == key.expires_at.timestamp()
    assert secret not in repr(record)
    assert read(issue(org)[0]).targets is None


def test_targets_of_another_kind_do_not_open_the_project(org: Org) -> None:
    key, _ = issue(org)
    key.targets.create(kind="server", target_id="1")
    assert read(key).targets == frozenset()


def test_an_unknown_hash_is_none(org: Org) -> None:
    assert DatabaseSource().key("0" * 64)[1] is None


def test_a_rotating_key_works_and_a_revoked_one_says_so(org: Org) -> None:
    key, _ = issue(org)
    fresh, _ = keys.rotate(org.principal(org.dana), key)
    assert read(key).admits and read(fresh).admits
    keys.revoke(org.principal(org.dana), fresh)
    assert "was revoked" in read(fresh).ended


def test_a_leavers_keys_end(org: Org) -> None:
    key, _ = issue(org)
    Membership.objects.filter(user=org.dana).delete()
    assert "no longer an active member" in read(key).ended


def test_an_inactive_persons_keys_end(org: Org) -> None:
    key, _ = issue(org)
    org.dana.is_active = False
    org.dana.save()
    assert "no longer an active member" in read(key).ended


def test_an_endpoint_with_its_engine_key_opened(org: Org) -> None:
    row = endpoint(org, "scoring", "http://127.0.0.1:9001")
    found = DatabaseSource().endpoints(org.fraud.pk)[1]["scoring"]
    assert (found.id, found.model, found.served_name) == (str(row.pk), "fraud-detection/scoring", "scoring")
    assert found.admits
    assert found.upstreams[0].key == "engine-key"
    assert "engine-key" not in repr(found)


def test_only_living_endpoints_of_the_project(org: Org) -> None:
    endpoint(org, "gone", phase=Phase.DELETED, desired=Desired.DELETED)
    endpoint(org, "leaving", phase=Phase.DELETING, desired=Desired.DELETED)
    endpoint(org, "ranking", project=org.search)
    endpoint(org, "asleep", phase=Phase.SUSPENDED, desired=Desired.SUSPENDED)
    assert set(DatabaseSource().endpoints(org.fraud.pk)[1]) == {"asleep"}


def test_a_replica_that_cannot_be_read_is_left_out(org: Org, caplog: pytest.LogCaptureFixture) -> None:
    row = endpoint(org, "scoring", "http://127.0.0.1:9001")
    for odd in ({"url": "ftp://x"}, {}, "text", {"url": "http://127.0.0.1:1", "key": "not encrypted by us"}):
        row.upstreams.append(odd)
    row.save()
    (kept,) = DatabaseSource().endpoints(org.fraud.pk)[1]["scoring"].upstreams
    assert kept.port == 9001
    assert caplog.text.count("gateway.upstream_unusable") == 4


def test_the_epoch_is_read_before_the_record(org: Org) -> None:
    key, _ = issue(org)
    before = DatabaseSource().epoch()
    epoch.bump()
    assert DatabaseSource().epoch() == before + 1
    assert DatabaseSource().key(key.hash)[0] == before + 1


@pytest.mark.parametrize("many", [1, 20])
def test_the_number_of_queries_does_not_grow(org: Org, many: int, django_assert_num_queries: Any) -> None:
    rows = [endpoint(org, f"e{number}", "http://127.0.0.1:1") for number in range(many)]
    key, _ = issue(org, *rows)
    with django_assert_num_queries(3):
        assert len(read(key).targets) == many
    with django_assert_num_queries(2):
        DatabaseSource().endpoints(org.fraud.pk)


# --- Through the gateway -------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(ordinary) as running:
        yield running


@pytest.fixture
def gateway(transactional_db: None, state_dir: Path) -> Iterator[Running]:
    with serving(state_dir / "journal") as running:
        yield running


def test_a_call_from_row_to_record(gateway: Running, org: Org, engine: Engine) -> None:
    row = endpoint(org, "scoring", engine.url)
    key, secret = issue(org, row)
    assert gateway.request(secret, CHAT).status == 200
    record = gateway.record()
    assert record["endpoint_id"] == str(row.pk)
    assert record["key_id"] == str(key.pk)
    assert (record["project_id"], record["key"], record["person"]) == (org.fraud.pk, key.prefix, "dana")


def test_revoking_takes_less_than_a_second_without_a_bus(gateway: Running, org: Org, engine: Engine) -> None:
    key, secret = issue(org, endpoint(org, "scoring", engine.url))
    assert gateway.request(secret, CHAT).status == 200
    keys.revoke(org.principal(org.dana), key)
    revoked = time.monotonic()
    until(lambda: gateway.request(secret, CHAT).status == 401, 2)
    assert time.monotonic() - revoked < 1


def test_a_leaver_and_a_suspension_are_noticed(gateway: Running, org: Org, engine: Engine) -> None:
    row = endpoint(org, "scoring", engine.url)
    _, secret = issue(org, row)
    assert gateway.request(secret, CHAT).status == 200
    assert move(Endpoint.objects.filter(pk=row.pk), Desired.RUNNING, Desired.SUSPENDED, field="desired")
    epoch.bump()
    until(lambda: gateway.request(secret, CHAT).status == 503, 2)
    Membership.objects.filter(user=org.dana).delete()
    epoch.bump()
    until(lambda: gateway.request(secret, CHAT).status == 401, 2)


def test_strangers_and_short_lives(gateway: Running, org: Org, engine: Engine) -> None:
    endpoint(org, "scoring", engine.url)
    foreign = endpoint(org, "ranking", engine.url, project=org.search)
    _, secret = issue(org, ttl=dt.timedelta(minutes=15))
    for model in ("search-ranking/ranking", "search-ranking/nothing", "nothing"):
        assert gateway.request(secret, CHAT | {"model": model}).code == "model_not_found"
    assert foreign.name not in gateway.request(secret, method="GET", path="/v1/models").body.decode()
    _, other = issue(org, scopes=["usage:read"])
    assert gateway.request(other, CHAT).code == "insufficient_scope"
    expired, gone = issue(org)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert gateway.request(gone, CHAT).code == "invalid_api_key"
    assert replace(read(expired), ended="").admits  # the clock refused it, before any sweep did


def test_calls_on_a_known_key_ask_the_database_for_the_epoch_only(
    gateway: Running, org: Org, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every statement of this process is counted, whatever thread and connection it goes through."""
    _, secret = issue(org, endpoint(org, "scoring", engine.url))
    assert gateway.request(secret, CHAT).status == 200  # from here on everything is known
    statements: list[str] = []
    execute = CursorWrapper.execute

    def counted(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        statements.append(str(sql))
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", counted)
    began = time.monotonic()
    for _ in range(200):
        assert gateway.request(secret, CHAT).status == 200
    took = time.monotonic() - began
    monkeypatch.undo()
    reads = [one for one in statements if one.lstrip().upper().startswith("SELECT")]
    assert all("projects_epoch" in one for one in reads), statements
    assert len(reads) <= took / POLL_SECONDS + 2
    assert not [one for one in statements if one.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))]
