"""Server time of the pages at the size of a large bank, and the first page of each list against its naive form."""

from collections.abc import Callable
from functools import partial

from django.db import connection
from django.db.models import Model, QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.models import Request
from benchmarks import seed_pages
from benchmarks.paired import milliseconds, paired, percentile
from benchmarks.results import Result
from benchmarks.stores import repeated
from catalog.models import Asset
from endpoints.models import Endpoint
from portal import warm
from projects.models import ApiKey, User
from projects.permissions import can
from projects.principal import Principal

CALLS, TARGET_MS = 60, 30.0
CATALOG = ("/catalog/", "/catalog/?q=model+12", "/catalog/?kind=model&licence=MIT", "/catalog/?view=table")
SCIENTIST = ("/", *CATALOG, "/requests/", "/endpoints/", "/usage/", "/projects/",
             "/projects/team-0/", "/projects/team-0/keys/", "/notifications/", "/search/?q=model",
             "/capacity/")  # fmt: skip
ENGINEER = ("/", *CATALOG, "/requests/", "/approvals/", "/endpoints/", "/endpoints/?phase=failed", "/projects/",
            "/usage/", "/capacity/", "/insights/", "/audit/")  # fmt: skip
SERVER = f"reference: the target, {TARGET_MS:.0f} ms p95; measured: p95 of {CALLS} calls, view and template, in process"
NAIVE = "reference: every row read and asked for permission one by one; measured: the whole page of the portal"


def measure(store: str) -> list[Result]:
    """Time every page for two people and the catalog for a third of no project; then the lists against reading and
    checking every row.
    """
    scientist, engineer = seed_pages.bank()
    warm.up()  # as the server does when it starts
    results = []
    stranger = User.objects.create_user(username="stranger")  # of no project
    people = (("scientist", scientist, SCIENTIST), ("engineer", engineer, ENGINEER), ("stranger", stranger, CATALOG))
    for who, person, paths in people:
        client = client_of(person)
        for path in paths:
            times, queries = timed(client, path)
            name = f"{who} {path} ({queries} queries), {store}"
            results.append(Result(name, "ms p95", TARGET_MS, percentile(times, 0.95), note=SERVER))
    client = client_of(scientist)
    for path, rows in _naive(scientist).items():
        reference, measured = paired(rows, partial(_page, client, path), rounds=3)
        results.append(Result(f"first page of {path}, {store}", "ms", reference, measured, note=NAIVE))
    return results


def client_of(person: User) -> Client:
    """Return a browser that `person` is signed in with."""
    client = Client(headers={"Host": "localhost"})
    client.force_login(person)
    return client


def _page(client: Client, path: str) -> None:
    answer = client.get(path)
    if answer.status_code != 200:
        raise SystemExit(f"{path} answered {answer.status_code}")
    answer.getvalue()


def timed(client: Client, path: str) -> tuple[list[float], int]:
    """Return the milliseconds of CALLS calls of a page, and how many queries one makes."""
    _page(client, path)
    with CaptureQueriesContext(connection) as seen:
        _page(client, path)
    queries = len(seen.captured_queries)  # now: the next request forgets them
    return [milliseconds(lambda: _page(client, path)) for _ in range(repeated(CALLS))], queries


def _naive(person: User) -> dict[str, Callable[[], object]]:
    """What a first version of each list would do: a query, a loop, a check per row."""
    principal = Principal.of(person)

    def every(rows: QuerySet[Model]) -> Callable[[], object]:
        return lambda: [row for row in rows.all() if can(principal, "view", row)][:50]

    return {
        "/requests/": every(Request.objects.select_related("project", "requester", "version__asset")),
        "/endpoints/": every(Endpoint.objects.select_related("project", "cluster", "revision__version__asset")),
        "/projects/team-0/keys/": every(ApiKey.objects.select_related("project", "person").prefetch_related("targets")),
        "/catalog/": lambda: list(Asset.objects.prefetch_related("versions__evidence"))[:50],
    }
