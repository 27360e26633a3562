"""Generated calls: for every operation of the OpenAPI document, bodies and parameters of its own shape and of none."""

import datetime as dt
import functools
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from portal.wsgi import application
from projects import tokens
from projects.permissions import SCOPES
from tests.test_api_matrix import OPERATIONS, path_of
from tests.world import World

pytestmark = pytest.mark.slow
EXAMPLES = 10  # per operation and way of naming the object: bounded, so that the suite stays a suite
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # the same calls each time: a failure is the code's, not the day's
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """Keep the test's connection open between calls, as Django's own test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS), ids=lambda part: part)
def test_generated_calls(method: str, path: str, world: World) -> None:
    """Never a server error: on objects that are there, and on names that are made up. Each call is undone."""
    operation = _schema()[f"/api/v1{path}"][method.upper()]
    token = tokens.create(world.org.pat, scopes=SCOPES, project=None, ttl=dt.timedelta(hours=1))
    there = _parameters(method, path, world)

    @BOUNDED
    @given(case=operation.as_strategy())
    def made_up(case: Any) -> None:
        _send(case, token)

    @BOUNDED
    @given(case=operation.as_strategy())
    def on_what_is_there(case: Any) -> None:
        case.path_parameters = there
        _send(case, token)

    with override_settings(API_RATE_PER_MINUTE=1_000_000):
        made_up()
        on_what_is_there()


@functools.cache
def _schema() -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application)


def _parameters(method: str, path: str, world: World) -> dict[str, str]:
    """The parameters that path_of() puts into a path."""
    parts = zip(path.split("/"), path_of(method, path, world).split("/"), strict=True)
    return {name[1:-1]: value for name, value in parts if name.startswith("{")}


def _send(case: Any, token: str) -> None:
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}", "If-Match": "*"}
    with transaction.atomic():
        response = case.call()
        transaction.set_rollback(True)
    assert response.status_code != 401, "the token did not arrive: nothing behind the door was tried"
    case.validate_response(response, checks=[not_a_server_error])
