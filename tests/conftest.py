"""Personas and clients that every test shares."""

import datetime as dt
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client, RequestFactory, TransactionTestCase

from audit import triggers
from projects import tokens
from projects.groups import create_after_migrate
from projects.models import AUDITORS, GOVERNANCE_LEADS, PLATFORM_ENGINEERS, Membership, Project, Role, User
from projects.principal import PortalRequest, Principal
from projects.signin import proof

pytest_plugins = ["tests.migrated", "tests.quick", "tests.sharing"]
FILLED = {"django_content_type", "auth_permission"}  # by migrations, and the same after each


def _empty(self: TransactionTestCase) -> None:
    """Empty the tables that hold something. Django's own way empties all of them and then fills content types and
    permissions anew, which takes longer than most tests.
    """
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = {name: connection.ops.quote_name(name) for name in names if name not in FILLED}
    triggers.drop(connection)  # they refuse it
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        some = (f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {table})" for name, table in tables.items())
        cursor.execute(" UNION ALL ".join(some))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {tables[name]}")
    triggers.create(connection)
    create_after_migrate(connection.alias)


TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Org:
    """The people and projects of the tests, named like the demo's."""

    dana: User  # developer in fraud-detection
    omar: User  # owner of fraud-detection
    vic: User  # viewer in fraud-detection
    pat: User  # platform engineer
    ravi: User  # platform engineer
    yasmine: User  # governance lead
    aud: User  # auditor
    cy: User  # owner of search-ranking, a stranger to fraud-detection
    fraud: Project
    search: Project

    def principal(self, user: User) -> Principal:
        """The principal of a session of `user`."""
        return Principal.of(user)

    def request(self, user: User) -> PortalRequest:
        """A page that `user` asks for, as the middlewares leave it."""
        found: Any = RequestFactory().get("/")
        found.principal, found.project = self.principal(user), None
        return found  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _clean_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


class NoBroker:
    """A broker that takes everything and does nothing."""

    @staticmethod
    def send_task(*args: Any, **options: Any) -> None:
        """Take a task."""


def people() -> Org:
    """Make personas and projects."""
    found = {
        name: User.objects.create_user(username=name, password="correct horse battery")
        for name in ("dana", "omar", "vic", "pat", "ravi", "yasmine", "aud", "cy")
    }
    for group, names in {
        PLATFORM_ENGINEERS: ("pat", "ravi"),
        GOVERNANCE_LEADS: ("yasmine",),
        AUDITORS: ("aud",),
    }.items():
        Group.objects.get_or_create(name=group)[0].user_set.add(*(found[name] for name in names))
    fraud = Project.objects.create(
        slug="fraud-detection", name="Fraud detection", cost_centre="CC-4711", owner_team="Risk"
    )
    search = Project.objects.create(
        slug="search-ranking", name="Search ranking", cost_centre="CC-0815", owner_team="Search"
    )
    Membership.objects.bulk_create(
        [
            Membership(project=fraud, user=found["dana"], role=Role.DEVELOPER),
            Membership(project=fraud, user=found["omar"], role=Role.OWNER),
            Membership(project=fraud, user=found["vic"], role=Role.VIEWER),
            Membership(project=search, user=found["cy"], role=Role.OWNER),
        ]
    )
    return Org(**found, fraud=fraud, search=search)


def prove(client: Client, user: User, *, factor: str = "totp", seconds_ago: float = 0) -> None:
    """Write into the session of `client` what `user` proved, and when; factor "" is a password alone."""
    at = time.time() - seconds_ago
    records: list[dict[str, Any]] = [{"method": "password", "at": at, "username": user.username}]
    if factor == "sso":
        records = [{"method": "socialaccount", "at": at, "provider": "keycloak", "second_factor": True}]
    elif factor:
        records.append({"method": "mfa", "at": at, "type": factor})
    session = client.session
    session[proof.RECORDS], session[proof.WHOSE] = records, str(user.pk)
    session.save()


@pytest.fixture
def client_for() -> Callable[..., Client]:
    """A signed-in browser session that has just proved a password and a second factor; `prove` makes other ones."""

    def make(user: User | None, *, factor: str = "totp", seconds_ago: float = 0) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
            prove(client, user, factor=factor, seconds_ago=seconds_ago)
        return client

    return make


class ApiClient:
    """The REST API as a pipeline calls it: JSON in and out, bearer token."""

    def __init__(self, secret: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {secret}"})

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(path: str, body: Any = None, **headers: str) -> Any:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            send = getattr(self.client, method)
            url = path if path.startswith("/api/") else f"/api/v1{path}"
            if method in {"get", "head", "options"}:
                return send(url, body or {}, headers=names)
            return send(url, body if body is not None else {}, content_type="application/json", headers=names)

        return call


@pytest.fixture
def api_for(db: None) -> Callable[..., ApiClient]:
    """An API client with a token of `user` that carries `scopes`."""

    def make(user: User, *scopes: str, project: Project | None = None) -> ApiClient:
        wanted = scopes or ("catalog:read", "requests:read", "endpoints:read", "usage:read")
        return ApiClient(tokens.create(user, scopes=wanted, project=project, ttl=dt.timedelta(hours=1)))

    return make


@pytest.fixture
def state_dir(tmp_path: Path, settings: Any) -> Path:
    """A state directory of the test's own."""
    for name in ("engines", "journal", "logs"):
        (tmp_path / name).mkdir(mode=0o700)
    settings.STATE_DIR = tmp_path
    return tmp_path


@pytest.fixture
def counter() -> Iterator[int]:
    """Numbers for names."""
    return itertools.count(1)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; the test is skipped (a failure in CI) where there is none."""
    path = os.environ.get("GATEHOUSE_TEST_CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        pytest.skip(f"no Chromium at {path}; set GATEHOUSE_TEST_CHROMIUM")
    return path


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their place: an archive holds the time at which it was made, and each worker makes its own."""
    return argname if isinstance(val, bytes) else None
