"""How long the API takes to know who a bearer secret stands for: a key, a token of a person, one of an application."""

import datetime as dt
import statistics
from collections.abc import Callable
from functools import partial

from allauth.idp.oidc.models import Token
from django.http import HttpRequest
from django.utils import timezone

from benchmarks.paired import milliseconds, paired
from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from portal import crypto
from projects import credentials, keys, tokens
from projects.models import Membership, Project, Role, User
from projects.oauth import applications
from projects.principal import Principal

CALLS, TARGET_MS, PROJECTS, TOKENS = 400, 2.0, 50, 200_000
TARGET = f"reference: the target, {TARGET_MS:.0f} ms; measured: median of {CALLS} checks of a token, in process"
NAIVE = "reference: token, client, application, owner, person, groups and projects read one by one; measured: the check"


def measure(store: str) -> list[Result]:
    """Time the check among many tokens, against the target and against one query for each thing that it needs."""
    secrets = _seed()
    request, results = HttpRequest(), []
    request.path = "/api/v1/me"
    for name, secret in secrets.items():
        check = partial(credentials.read, secret, request)
        check()
        times = [milliseconds(check) for _ in range(repeated(CALLS))]
        results.append(Result(f"{name}, {store}", "ms median", TARGET_MS, statistics.median(times), note=TARGET))
    secret = secrets["token of an application"]
    reference, measured = paired(_many(partial(_naive, secret)), _many(partial(credentials.read, secret, request)))
    results.append(Result(f"50 checks, {store}", "ms", reference, measured, note=NAIVE))
    return results


def _many(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: [call() for _ in range(50)]


def _naive(secret: str) -> object:
    token = Token.objects.lookup(Token.Type.ACCESS_TOKEN, secret)
    application = token.client.application
    person = token.user or application.account
    alive = application.owner.is_active and person.is_active
    groups = [group.name for group in person.groups.all()]
    return alive, groups, [(row.project.slug, row.role) for row in person.memberships.all()]


def _seed() -> dict[str, str]:
    """Fill the tables and return one secret of each kind."""
    person = User.objects.create(username="bench")
    projects = Project.objects.bulk_create(
        Project(slug=f"p-{number}", name=f"P {number}") for number in range(PROJECTS)
    )
    Membership.objects.bulk_create(Membership(project=one, user=person, role=Role.OWNER) for one in projects)
    project, by = projects[0], Principal.of(person)
    secret = tokens.create(person, scopes=["requests:read"], project=None, ttl=dt.timedelta(hours=1))
    _, key = keys.issue(by, project=project, name="bench", scopes=["requests:read"])
    made, _ = applications.create(
        by, project=project, name="bench", grants=["client_credentials"], scopes=["requests:read"]
    )
    machine, ends = crypto.random_text(43), timezone.now() + dt.timedelta(hours=1)
    rows = (_token(made.client_id, crypto.digest(f"other {number}"), ends) for number in range(scaled(TOKENS)))
    Token.objects.bulk_create(rows, batch_size=2000)
    _token(made.client_id, crypto.digest(machine), ends).save()
    return {"token of a person": secret, "token of an application": machine, "key": key}


def _token(client: str, digest: str, ends: dt.datetime) -> Token:
    return Token(
        type=Token.Type.ACCESS_TOKEN, client_id=client, hash=digest, expires_at=ends, scopes="requests:read", data={}
    )
