"""The explorer's answer equals what the enforcement does, on random graphs of roles and grants."""

import random
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.access.explain import Explorer
from approvals.access.sight import question, sight
from approvals.access.words import WORDS
from projects.models import User
from projects.principal import Principal
from tests.approvals.access_kit import Graph, allowed, grow, principals, still
from tests.approvals.stage_kit import lend
from tests.conftest import Org

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

SETTINGS: dict[str, Any] = {
    "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    "database": None,
}  # fmt: skip


@pytest.fixture
def graph(org: Org, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    return still()


def compare(org: Org, graph: Graph, dice: random.Random) -> None:
    """Everybody and every key × every word × one project and one asset: as a list, and asked one by one."""
    fresh = Graph(graph.projects, graph.assets, graph.endpoints, graph.outside, graph.profile)
    grow(fresh, dice)
    who, known = sight(Principal.of(org.aud)), principals(fresh)
    names = [*(one.username for one in fresh.people), *fresh.secrets]
    for target in (dice.choice(fresh.projects), dice.choice(fresh.assets)):
        named = {"project" if target in fresh.projects else "asset": target.slug}
        everything = [row for row in Explorer(who, question(who, **named)).rows() if row.who in names]
        rows = [row for row in everything if row.on.name == target.slug]
        beside = {(row.on.name, row.word) for row in everything} - {(target.slug, word) for word in WORDS}
        assert beside <= {("server", "invoke")}, "a project shows the servers that it may use"
        said = {(row.who, row.word) for row in rows if row.allowed}
        done = {(name, word) for name in names for word in WORDS if allowed(fresh, name, known.get(name), word, target)}
        assert said == done, (named, sorted(said ^ done))
        one = dice.choice(fresh.people)
        asked = Explorer(who, question(who, user=one.username, **named)).rows()
        alone = {row.word for row in asked if row.allowed and row.on.name == target.slug}
        assert alone == {word for name, word in done if name == one.username}, (one.username, named)
        for prefix in [name for name in fresh.secrets if name not in fresh.apps][:2]:
            asked = Explorer(who, question(who, key=prefix, **named)).rows()
            key = {row.word for row in asked if row.allowed and row.on.name == target.slug}
            assert key == {word for name, word in done if name == prefix}, (prefix, named)


def rolled_back(org: Org, graph: Graph, seed: int) -> None:
    with transaction.atomic():
        compare(org, graph, random.Random(seed))
        transaction.set_rollback(True)


@pytest.mark.parametrize("seed", range(2))
def test_the_answer_is_what_the_enforcement_does(org: Org, graph: Graph, seed: int) -> None:
    rolled_back(org, graph, seed)


@pytest.mark.slow
@settings(max_examples=15, **SETTINGS)
@given(seed=st.integers(0, 2**32))
def test_the_answer_is_what_the_enforcement_does_on_random_graphs(org: Org, graph: Graph, seed: int) -> None:
    assert User.objects.filter(username="founder").exists()
    rolled_back(org, graph, seed)


def test_a_delegate_decides_through_the_delegator(org: Org) -> None:
    """The way names who lends and until when; what was lent is not handed on."""
    lend(org.pat, org.vic)
    lend(org.vic, org.cy)
    lend(org.ravi, org.vic, revoked_at=timezone.now())
    who = sight(Principal.of(org.aud))

    def decides(name: str) -> list[Any]:
        (row,) = Explorer(who, question(who, user=name, project="fraud-detection")).rows(word="decide")
        return [(way.kind, way.name, way.sentence[:14], way.ends_at is not None) for way in row.through]

    assert decides("vic") == [("delegation", "pat", "for pat until ", True)]
    assert decides("cy") == []
    everybody = Explorer(who, question(who, project="fraud-detection")).rows(word="decide")
    assert {row.who for row in everybody} == {"omar", "pat", "ravi", "vic", "yasmine"}
