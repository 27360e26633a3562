"""API keys: shape, issue, find, rotate, revoke, expire."""

import datetime as dt
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import time_machine
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects import epoch, keys
from projects.models import ApiKey, KeyState
from projects.principal import Principal
from tests.conftest import Org

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def issue(org: Org, **fields: object) -> tuple[ApiKey, str]:
    defaults = {"project": org.fraud, "name": "batch", "scopes": ["inference:invoke"]}
    return keys.issue(Principal.of(org.dana), **(defaults | fields))  # type: ignore[arg-type]


@pytest.mark.django_db
def test_issue_shows_the_secret_once_and_stores_its_hash_only(org: Org) -> None:
    before = epoch.current()
    key, secret = issue(org, targets=[("endpoint", "e1")])
    assert secret.startswith(f"{key.prefix}_") and len(key.prefix) == 12 and keys.well_formed(secret)
    assert keys.find(secret) == key
    assert (key.expires_at - timezone.now()).days in {89, 90}
    assert epoch.current() > before
    row = Row.objects.get(action="keys.issue")
    body = secret[13:]
    assert body not in row.after + row.canonical and key.hash not in row.after + row.canonical


def test_the_documented_pattern_fits_every_key_and_nothing_around_it() -> None:
    """What docs/leaked-key.md gives to secret scanners is what is issued."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "leaked-key.md").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"^The pattern is `(.*?)`", text, re.MULTILINE)
    (rule,) = re.findall(r"^regex = '''(.*)'''$", text, re.MULTILINE)
    for _ in range(200):
        prefix, secret = keys.new_secret()
        assert re.fullmatch(pattern, secret) and secret.startswith(prefix)
        assert re.findall(rule, f'client = OpenAI(api_key="{secret}")') == [secret]
        assert not re.search(rule, secret[:-1]) and not re.search(rule, f"{secret}x")


@pytest.mark.django_db
def test_one_changed_character_anywhere_is_refused_without_a_query(
    org: Org, django_assert_num_queries: Callable[[int], AbstractContextManager[object]]
) -> None:
    _, secret = issue(org)
    with django_assert_num_queries(0):
        for position, old in enumerate(secret):
            for char in {*ALPHABET, "-", "_", "é", "\x00"} - {old}:
                assert keys.find(secret[:position] + char + secret[position + 1 :]) is None, position


@given(position=st.integers(0, 61), char=st.sampled_from(ALPHABET))
def test_one_changed_character_breaks_the_checksum(position: int, char: str) -> None:
    _, secret = keys.new_secret()
    changed = secret[:position] + char + secret[position + 1 :]
    assert keys.well_formed(changed) == (changed == secret)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": ["approvals:decide"]}, "scopes"),
        ({"days": 0}, "days"),
        ({"days": 366}, "days"),
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "bad\x00name"}, "name"),
    ],
)
def test_issue_refuses_bad_input(org: Org, fields: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as error:
        issue(org, **fields)
    assert field in error.value.fields
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_only_builders_of_the_project_issue_keys(org: Org) -> None:
    for person, expected in ((org.vic, Forbidden), (org.pat, Forbidden), (org.cy, NotFound)):
        with pytest.raises(expected):
            keys.issue(Principal.of(person), project=org.fraud, name="k", scopes=["inference:invoke"])


@pytest.mark.django_db
def test_a_token_cannot_mint_a_key_stronger_than_itself(org: Org) -> None:
    weak = Principal.of(org.dana, via="token", scopes=frozenset({"endpoints:write"}))
    with pytest.raises(Invalid):
        keys.issue(weak, project=org.fraud, name="k", scopes=["requests:write"])
    keys.issue(weak, project=org.fraud, name="k", scopes=["inference:invoke"])


@pytest.mark.django_db
def test_revoke_ends_a_key_once(org: Org) -> None:
    key, secret = issue(org)
    keys.revoke(Principal.of(org.pat), key, reason="leaked")
    assert keys.find(secret) is None
    with pytest.raises(Conflict):
        keys.revoke(Principal.of(org.dana), key)
    assert Row.objects.get(action="keys.revoke").reason == "leaked"


@pytest.mark.django_db
def test_rotate_overlaps_and_never_outlives_the_old_end(org: Org) -> None:
    key, old = issue(org, targets=[("endpoint", "e1")], days=3)
    end = key.expires_at
    fresh, new = keys.rotate(Principal.of(org.dana), key)
    key.refresh_from_db()
    assert keys.find(old) == key and keys.find(new) == fresh
    assert key.state == KeyState.ROTATING and key.expires_at == end
    assert [target.target_id for target in fresh.targets.all()] == ["e1"]
    with pytest.raises(Conflict):
        keys.rotate(Principal.of(org.dana), key)


@pytest.mark.django_db
def test_an_expired_key_counts_for_nothing_even_before_the_sweep(org: Org) -> None:
    key, secret = issue(org, days=1)
    with time_machine.travel(timezone.now() + dt.timedelta(days=1, seconds=1)):
        assert keys.find(secret) is None
        assert ApiKey.objects.get(pk=key.pk).state == KeyState.ACTIVE
        assert keys.expire() == 1
        assert ApiKey.objects.get(pk=key.pk).state == KeyState.EXPIRED
        assert keys.expire() == 0
