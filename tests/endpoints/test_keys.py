"""Keys: names become ids, bounds, who may do what."""

from typing import Any

import pytest

from endpoints.keys import issue_key, revoke_key, rotate_key
from endpoints.models import Endpoint, Phase
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects import keys
from projects.models import ApiKey
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = pytest.mark.django_db


def test_names_become_ids_and_none_means_the_whole_project(org: Org) -> None:
    one, two = open_demo(org.fraud), open_demo(org.fraud)
    by = Principal.of(org.dana)
    key, secret = issue_key(by, org.fraud, "service", [two.name, one.name, one.name])
    assert {(target.kind, target.target_id) for target in key.targets.all()} == {
        ("endpoint", str(one.pk)),
        ("endpoint", str(two.pk)),
    }
    found = keys.find(secret)
    assert found is not None and found.pk == key.pk and key.scopes == ["inference:invoke"]
    whole, _ = issue_key(by, org.fraud, "all", [])
    assert not whole.targets.exists()


@pytest.mark.parametrize("case", ["unknown", "foreign", "deleted", "too many"])
def test_names_that_cannot_be_bound_are_named(org: Org, case: str) -> None:
    foreign, deleted = open_demo(org.search), open_demo(org.fraud)
    Endpoint.objects.filter(pk=deleted.pk).update(phase=Phase.DELETED)
    names = {
        "unknown": ["nope"],
        "foreign": [foreign.name],
        "deleted": [deleted.name],
        "too many": [f"e{n}" for n in range(51)],
    }[case]
    with pytest.raises(Invalid) as refused:
        issue_key(Principal.of(org.dana), org.fraud, "service", names)
    assert "endpoints" in refused.value.fields and (case == "too many" or names[0] in refused.value.sentence)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("person", "error"), [("vic", Forbidden), ("aud", Forbidden), ("pat", Forbidden), ("cy", NotFound)]
)
def test_only_builders_of_the_project_make_keys(org: Org, person: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        issue_key(Principal.of(getattr(org, person)), org.fraud, "service", [])


@pytest.mark.parametrize(
    ("verb", "person", "allowed"),
    [
        (rotate_key, "dana", False),
        (rotate_key, "omar", True),
        (rotate_key, "pat", False),
        (revoke_key, "dana", False),
        (revoke_key, "pat", True),
        (revoke_key, "vic", False),
    ],
)
def test_another_persons_key(org: Org, verb: Any, person: str, allowed: bool) -> None:
    second = Principal.of(org.omar)
    key, _ = issue_key(second, org.fraud, "of-omar", [])
    if allowed:
        verb(Principal.of(getattr(org, person)), key)
    else:
        with pytest.raises(Forbidden):
            verb(Principal.of(getattr(org, person)), key)
    key.refresh_from_db()
    assert (key.state != "active") is allowed


def test_an_ended_key_cannot_end_again(org: Org) -> None:
    by = Principal.of(org.dana)
    key, secret = issue_key(by, org.fraud, "service", [])
    revoke_key(by, key)
    assert keys.find(secret) is None
    with pytest.raises(Conflict):
        revoke_key(by, key)
    with pytest.raises(Conflict):
        rotate_key(by, key)
