"""What people who mean harm, and programs that are broken, send: never a 500, always a sentence, nothing changed."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from approvals.models import Request
from audit.models import Row as AuditRow
from portal.api import api
from projects.permissions import SCOPES
from tests.conftest import Org
from tests.test_api_matrix import OPERATIONS, path_of
from tests.test_url_matrix import NEVER_POST, ONLY_GET, PAGES
from tests.test_url_matrix import path_of as page_of
from tests.world import World, furnish

NESTED = "[" * 20_000 + "]" * 20_000
IN_ADDRESSES = (
    "%00", "a%00b", "%ED%A0%80", "%FF%FE", "abc", "-1", "0", "1e3", "9" * 30, "-" + "9" * 30, "NaN", "%D9%A3", "%F0%9F%A6%84",
    "'%20OR%201=1--", "%7B%7B7*7%7D%7D", "..%2F..%2Fetc", "x" * 3000, "1" + "0" * 4500, "2026-13-45", "0001-01-01", "9999-12-31",
    "2026-11-20T10:00:00%2B99:99", "W10", "bnVsbA", "W251bGxd", "Wy0xLCJhIl0", "WyJcdWQ4MDAiLCJcdWQ4MDAiXQ", "WzFlOTk5LDFlOTk5XQ", "WzFlOTk5XQ",
    "WyJcdWQ4MDAiXQ", "W1tdLHt9XQ", "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTIzOjU5IiwxXQ",
)  # fmt: skip
IN_FORMS = (
    "\0", "a\0b", "\x1b[2J", "\u202e", "x" * 20_000, "-1", "0", str(10**30), "1e9", "NaN", "٣", "²", "abc", " ", "<script>", "{{7*7}}",
    "2026-02-30", "0000-00-00", "99999-01-01", "🦄" * 50, "%00",
)  # fmt: skip
IN_BODIES = (
    None, True, 0, -1, 10**30, -(10**30), 2**63, 1.5, 1e308, float("nan"), float("inf"), "", " ", "\0", "a\0b", "\ud800", "\u202e", "x" * 20_000, "²", "٣", [], {},
    [None], [[]], [1], ["\0"], ["\ud800"], ["x"] * 1000, {"a": "\0"}, {"\ud800": 1}, "2026-02-30", "0000-00-00", "9999-12-31", "../../etc/passwd",
)  # fmt: skip


@pytest.fixture
def world(org: Org, state_dir: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    return furnish(org)


class Judge:
    """Sends calls one by one, undoes each, and remembers what no caller should ever see."""

    def __init__(self, client: Client) -> None:
        self.client, self.wrong, self.calls = client, [], 0  # type: ignore[var-annotated]
        client.raise_request_exception = False

    def call(self, method: str, path: str, data: Any = None, **also: Any) -> Any:
        """One call; a refused one must leave no audit row, which every change leaves."""
        self.calls += 1
        with transaction.atomic():
            before = AuditRow.objects.count()
            response = self.client.generic(method, path, data if data is not None else b"", **also)
            content = b"".join(response.streaming_content) if response.streaming else response.content
            changed = AuditRow.objects.count() - before
            transaction.set_rollback(True)
        if response.status_code >= 500 and response.status_code != 503:
            self._blame(response, method, path, data, content)
        elif response.status_code >= 400 and changed:
            self._blame(response, method, path, data, b"changed something")
        elif response.status_code >= 400 and method != "HEAD":
            self._heard(response, method, path, data, content)
        return response

    def _heard(self, response: Any, method: str, path: str, data: Any, content: bytes) -> None:
        """A refusal says a sentence: a problem document, or a page with a title and the sentence."""
        kind = response.headers.get("Content-Type", "")
        if kind.startswith("application/problem+json"):
            problem = json.loads(content)
            sane = problem["status"] == response.status_code and len(problem["detail"]) > 8 and problem["code"]
        else:
            sane = b"<h1" in content or response.status_code in {401, 405}
        if not sane or b"Traceback" in content:
            self._blame(response, method, path, data, content)

    def _blame(self, response: Any, method: str, path: str, data: Any, content: bytes) -> None:
        self.wrong.append(f"{method} {path[:160]} {str(data)[:160]!r}: {response.status_code} {content[:120]!r}")

    def verdict(self) -> None:
        """Fail with everything that was wrong."""
        assert self.calls and not self.wrong, f"{len(self.wrong)} of {self.calls}:\n" + "\n".join(self.wrong[:40])


@pytest.fixture
def page_judge(world: World, client_for: Callable[..., Client]) -> Callable[[str], Judge]:
    return lambda name: Judge(client_for(getattr(world.org, name)))


@pytest.fixture
def api_judge(world: World, api_for: Any) -> Callable[[str], Judge]:
    return lambda name: Judge(api_for(getattr(world.org, name), *SCOPES).client)


# --- Addresses --------------------------------------------------------------------------------------------------------

QUERY_NAMES = (
    "page", "q", "sort", "view", "state", "mine", "project", "phase", "environment", "action", "object_id", "request_id", "from", "to",
    "range", "key", "endpoint", "format", "tab", "version", "context", "calls", "kind", "task", "licence", "asset", "nonsense",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "route", sorted(route for route, row in PAGES.items() if "200" in row.get and route != "metrics")
)
def test_queries_of_pages(route: str, world: World, page_judge: Callable[[str], Judge]) -> None:
    """Every name with every value, and names twice."""
    judge = page_judge("pat" if route.startswith(("approvals", "audit")) else "dana")
    path = page_of(route, world)
    names = QUERY_NAMES if not route.startswith("accounts") else ("next", "nonsense")
    for name, value in itertools.product(names, IN_ADDRESSES if not route.startswith("accounts") else IN_ADDRESSES[:6]):
        judge.call("GET", f"{path}?{name}={value}")
    judge.call("GET", f"{path}?" + "&".join(f"{name}=a&{name}=b" for name in names))
    judge.call("GET", f"{path}?" + "&".join(f"x{number}=1" for number in range(2000)))
    judge.verdict()


def test_segments_of_pages(world: World, page_judge: Callable[[str], Judge]) -> None:
    """Names and numbers in paths that no object can have are 404, on both databases."""
    judge = page_judge("pat")
    for route, value in itertools.product((route for route in PAGES if "<" in route), IN_ADDRESSES):
        path = "/" + route
        for name in ("<slug:slug>", "<str:slug>", "<uuid:endpoint_id>", "<uuid:key_id>", "<int:pk>", "<key>"):
            path = path.replace(name, value)
        judge.call("GET", path)
        judge.call("POST", path, "", content_type="application/x-www-form-urlencoded")
    for number in ("99999999999999999999", str(2**63), str(2**63 - 1), "0"):
        for route in ("requests/{}/", "requests/{}/edit/", "approvals/{}/", "requests/new/?from={}"):
            response = judge.call("GET", "/" + route.format(number))
            assert response.status_code == 404 or "from=" in route, (route, number)
    judge.verdict()


@pytest.mark.slow
def test_queries_of_the_api(world: World, api_judge: Callable[[str], Judge]) -> None:
    """Every parameter that the OpenAPI document names, with every value: 200 or a problem that names it."""
    judge = api_judge("pat")
    for path, methods in api.get_openapi_schema()["paths"].items():
        if "get" not in methods or path.endswith("/export"):
            continue
        where = "/api/v1" + path_of("get", path.removeprefix("/api/v1"), world)
        names = [item["name"] for item in methods["get"].get("parameters", []) if item["in"] == "query"]
        for name, value in itertools.product([*names, "nonsense"], IN_ADDRESSES):
            judge.call("GET", f"{where}?{name}={value}")
    judge.verdict()


def test_segments_of_the_api(world: World, api_judge: Callable[[str], Judge]) -> None:
    """Strange names in paths are problems, whatever the method."""
    judge = api_judge("pat")
    for (method, path), row in OPERATIONS.items():
        if "{" not in path:
            continue
        for value in IN_ADDRESSES[:17]:
            where = path
            for name in ("slug", "version", "user", "endpoint_id", "key_id", "request_id"):
                where = where.replace("{" + name + "}", value)
            data = json.dumps(row.body(world)) if method != "get" else ""
            response = judge.call(method.upper(), f"/api/v1{where}", data, content_type="application/json")
            assert response.status_code >= 400 or response.status_code == 204, (method, where)
    for slug, value in itertools.product(("fraud-detection",), IN_ADDRESSES[:17]):
        judge.call(
            "PUT", f"/api/v1/projects/{slug}/members/{value}", '{"role": "viewer"}', content_type="application/json"
        )
        judge.call("DELETE", f"/api/v1/projects/{slug}/members/{value}")
        judge.call("GET", f"/api/v1/catalog/assets/{world.version.asset.slug}/versions/{value}")
    judge.verdict()


# --- Forms ------------------------------------------------------------------------------------------------------------

FORMS = sorted(route for route, row in PAGES.items() if row.post not in (NEVER_POST, ONLY_GET))
MULTIPART = "multipart/form-data; boundary=x"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("route", FORMS)
def test_fields_of_forms(route: str, world: World, page_judge: Callable[[str], Judge]) -> None:
    """Every field of every form with every value, alone and beside right ones; and bodies that are none."""
    judge = page_judge("pat" if route.startswith("approvals") else "omar" if route.startswith("projects/") else "dana")
    path, row = page_of(route, world), PAGES[route]
    right = dict(row.data(world)) or {"login": "dana", "password": "x", "email": "a@example.com", "reason": "x"}
    from urllib.parse import urlencode

    for name, value in itertools.product((*right, "next", "reason", "csrfmiddlewaretoken"), IN_FORMS):
        judge.call("POST", path, urlencode(right | {name: value}), content_type=FORM)
    for name in right:
        judge.call(
            "POST", path, urlencode({key: value for key, value in right.items() if key != name}), content_type=FORM
        )
        judge.call("POST", path, urlencode([*right.items(), (name, "second"), (name, "third")]), content_type=FORM)
    judge.call("POST", path, b"\xff\xfe=\xed\xa0\x80&purpose=%ED%A0%80&text=%FF", content_type=FORM)
    judge.call("POST", path, b"--x\r\nbroken", content_type=MULTIPART)
    judge.call("POST", path, b"{}", content_type="application/json")
    judge.call("POST", path, urlencode({f"x{n}": "1" for n in range(600)}), content_type=FORM)
    judge.verdict()


@pytest.mark.parametrize("name", ["purpose", "name", "version", "ends_on"])
def test_a_megabyte_in_a_form(name: str, world: World, page_judge: Callable[[str], Judge]) -> None:
    """Just below the limit of a body a form answers with the field's sentence; above it with a sentence too."""
    judge, right = page_judge("dana"), dict(PAGES["requests/new/"].data(world))
    from urllib.parse import urlencode

    before = Request.objects.count()
    near = judge.call("POST", "/requests/new/", urlencode(right | {name: "x" * 1_000_000}), content_type=FORM)
    assert near.status_code == 422 and b"limit" in near.content or name == "ends_on"
    over = judge.call("POST", "/requests/new/", urlencode(right | {name: "x" * 2_000_000}), content_type=FORM)
    assert over.status_code in {400, 413}
    assert Request.objects.count() == before
    judge.verdict()


# --- Bodies -----------------------------------------------------------------------------------------------------------

WRITES = sorted(key for key in OPERATIONS if key[0] in {"post", "put", "patch"})


@pytest.mark.parametrize(("method", "path"), WRITES, ids=lambda part: part)
def test_fields_of_bodies(method: str, path: str, world: World, api_judge: Callable[[str], Judge]) -> None:
    """Every field of every body with every value and type, alone and beside right ones."""
    person = "dana" if path.startswith("/requests") and "decisions" not in path else "pat"
    judge, where = api_judge(person), f"/api/v1{path_of(method, path, world)}"
    right = dict(OPERATIONS[method, path].body(world))
    headers = {"If-Match": "*"}
    for name, value in itertools.product((*right, *_extra(path), "nonsense"), IN_BODIES):
        body = json.dumps(right | {name: value})
        judge.call(method.upper(), where, body, content_type="application/json", headers=headers)
    for raw in _raw_bodies():
        judge.call(method.upper(), where, raw, content_type="application/json", headers=headers)
    for kind in (
        "",
        "text/plain",
        "application/xml",
        "application/json; charset=utf-7",
        "a" * 500,
        MULTIPART,
        "\u00e9",
    ):
        judge.call(method.upper(), where, json.dumps(right), content_type=kind, headers=headers)
    judge.verdict()


def _extra(path: str) -> tuple[str, ...]:
    """Fields that a right body leaves out."""
    extra = {"/projects": ("description",), "/requests": ("draft", "kind"), "/requests/check": ("kind", "draft")}
    keys = ("endpoints", "scopes", "days") if path.endswith("/keys") else ()
    versions = ("facts", "runtimes") if path.endswith("/versions") else ()
    return (*extra.get(path, ()), *keys, *versions, "reason")


def _raw_bodies() -> Iterator[bytes]:
    yield from (
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"a": "\xed\xa0\x80"}',
        b'{"name": "\\ud800"}',
        b"\0",
    )
    yield from (NESTED.encode(), b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"purpose": ' + NESTED.encode() + b"}")
    yield from (b'{"replicas": 1' + b"0" * 5000 + b"}", b'{"name": "a", "name": "b"}', b'{"replicas": 1e999}', b"NaN")
    yield b'{"purpose": "' + b"x" * 1_100_000 + b'"}'
    yield b'{"purpose": "' + b"x" * 1_000_000 + b'"}'


# --- Headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Accept", "If-Match", "Idempotency-Key", "Authorization", "X-Request-Id", "HX-Request",
                                  "Accept-Language", "Accept-Encoding", "Cookie", "HX-Target", "Referer", "If-None-Match"])  # fmt: skip
def test_headers(
    name: str, world: World, api_judge: Callable[[str], Judge], page_judge: Callable[[str], Judge]
) -> None:
    """Garbage in headers is ignored or refused with a sentence."""
    values = (
        "",
        "\x7f",
        "é",
        "x" * 5000,
        "*/*;q=abc",
        "text/csv;q=",
        ",,,",
        '"',
        "W/",
        "Bearer",
        "Bearer \x01",
        "Basic Og==",
        "0",
    )
    pages, calls = page_judge("dana"), api_judge("dana")
    for value in values:
        header = {name: value}
        for path in ("/", "/requests/", "/catalog/", "/endpoints/", "/usage/"):
            pages.call("GET", path, headers=header)
        for path in ("/usage", "/requests", "/catalog/assets"):
            calls.call("GET", f"/api/v1{path}", headers=header)
        draft = f"/api/v1/requests/{world.draft.pk}"
        calls.call("PATCH", draft, '{"replicas": 2}', content_type="application/json", headers=header)
        calls.call("POST", f"{draft}/comments", '{"text": "x"}', content_type="application/json", headers=header)
    pages.verdict()
    calls.verdict()


def test_methods_and_hosts(world: World, page_judge: Callable[[str], Judge], api_judge: Callable[[str], Judge]) -> None:
    """Methods that nobody offers are 405, hosts that are not ours 400."""
    pages, calls = page_judge("dana"), api_judge("dana")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "HEAD", "get", "X" * 100):
        for path in ("/", "/requests/", "/health/live", "/metrics", "/accounts/login/"):
            pages.call(method, path)
        for path in ("/api/v1/me", "/api/v1/requests", "/api/v1/nothing", "/api/"):
            calls.call(method, path)
    for host in ("evil.example", "a b", "[::", "x" * 300, "127.0.0.1:99999999", "é"):
        assert pages.call("GET", "/health/live", headers={"Host": host}).status_code == 400
    pages.verdict()
    calls.verdict()
