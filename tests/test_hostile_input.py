"""What people who mean harm, and programs that are broken, send: never a 500, always a sentence, nothing changed."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test import Client

from approvals.models import Request
from audit.models import Row as AuditRow
from portal.api import api
from projects.permissions import SCOPES
from tests.test_api_matrix import OPERATIONS, path_of
from tests.test_url_matrix import NEVER_POST, ONLY_GET, PAGES
from tests.test_url_matrix import path_of as page_of
from tests.world import World

pytestmark = pytest.mark.slow
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
LONG = "1" + "0" * 4500  # Python refuses to turn more than 4,300 digits into a number
IN_ADDRESSES: tuple[str, ...] = (
    *("%00", "a%00b", "%ED%A0%80", "abc", "-1", "9" * 30, "%D9%A3", "%F0%9F%A6%84", "'%20OR%201=1--", "..%2F..%2Fetc"),
    *("x" * 3000, LONG, "2026-13-45", "0001-01-01", "2026-11-20T10:00:00%2B99:99"),
)
CURSORS = {
    "null": "bnVsbA",
    "an empty list": "W10",
    "two nulls": "W251bGwsbnVsbF0",
    "numbers and words": "Wy0xLCJhIl0",
    "half a surrogate pair": "WyJcdWQ4MDAiXQ",
    "two halves": "WyJcdWQ4MDAiLCJcdWQ4MDAiXQ",
    "infinity": "WzFlOTk5XQ",
    "twice infinity": "WzFlOTk5LDFlOTk5XQ",
    "lists in lists": "W1tdLHt9XQ",
    "a time that no zone can shift": "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTIzOjU5IiwxXQ",
    "a NUL": "WyJcdTAwMDAiXQ",
    "too deep": "W1tb" * 5000,
    "no base64": "%F0%9F%A6%84!",
}
IN_FORMS: tuple[str, ...] = (
    *("a\0b", "\x1b[2J", "\u202e", "x" * 20_000, "-1", "0", str(10**30), "1e9", "٣", "²", "<script>", "2026-02-30"),
    *("99999-01-01", " "),
)
IN_BODIES: tuple[Any, ...] = (
    *(None, True, -1, 10**30, 2**63, 1.5, 1e308, float("inf"), "", "a\0b", "\ud800", "x" * 20_000, "²", [], {}),
    *([None], [[]], ["\0"], ["\ud800"], {"a": "\0"}, "2026-02-30", "9999-12-31"),
)
# CI runs this file on both databases. What the second one can take otherwise than the first is tried there too: what it
# stores or compares. What is refused before any row is asked is refused the same.
TWICE = connection.vendor == "postgresql"
if TWICE:
    IN_ADDRESSES = ("a%00b", "%ED%A0%80", "9" * 30, "%D9%A3", "x" * 3000, "0001-01-01")
    IN_FORMS = ("a\0b", "x" * 20_000, str(10**30))
    IN_BODIES = (10**30, 2**63, float("inf"), "a\0b", "\ud800", "x" * 20_000, ["\0"], {"a": "\0"}, "9999-12-31")
QUERY_NAMES = (
    *("page", "q", "sort", "view", "state", "mine", "project", "phase", "environment", "action", "object_id"),
    *("request_id", "from", "to", "range", "key", "endpoint", "format", "tab", "version", "context", "calls"),
    *("kind", "task", "licence", "asset", "next", "nonsense", "columns", "size", "after", "before", "actor", "role"),
)


class Judge:
    """Sends calls one by one, undoes each, and remembers what no caller should ever see."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.client.raise_request_exception = False
        self.wrong: list[str] = []
        self.calls = 0

    def call(self, method: str, path: str, data: Any = b"", **also: Any) -> Any:
        """One call; a refused one must leave no audit row, which every change leaves."""
        self.calls += 1
        with transaction.atomic():
            before = AuditRow.objects.count()
            response = self.client.generic(method, path, data, **also)
            content = b"".join(getattr(response, "streaming_content", ())) if response.streaming else response.content
            changed = AuditRow.objects.count() != before if response.status_code < 500 else False
            transaction.set_rollback(True)
        status = response.status_code
        refused = status >= 400 and method != "HEAD"
        if status >= 500 or status == 429 or (refused and (changed or not self._sentence(response, content))):
            self.wrong.append(f"{method} {path[:120]} {str(data)[:160]!r}: {status} changed={changed} {content[:90]!r}")
        return response

    def _sentence(self, response: Any, content: bytes) -> bool:
        """A refusal says a sentence: a problem document, or a page with a title."""
        if response.request["PATH_INFO"].startswith(("/identity/o/api/", "/.well-known/")):
            said = json.loads(content) if content.startswith(b"{") else {}  # RFC 6749 has a shape of its own
            if said:
                return len(said["error_description"]) > 8 and bool(said["error"])
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            problem = json.loads(content)
            return problem["status"] == response.status_code and len(problem["detail"]) > 8 and bool(problem["code"])
        return b"<h1" in content or response.status_code in {401, 405}

    def verdict(self) -> None:
        """Fail with everything that was wrong."""
        assert self.calls
        assert not self.wrong, f"{len(self.wrong)} of {self.calls}:\n" + "\n".join(self.wrong[:40])


Judges = Callable[[str], Judge]


@pytest.fixture
def world(world: World, settings: Any) -> World:
    # Else the calls below would be refused for their number.
    settings.API_RATE_PER_MINUTE, settings.ACCOUNT_RATE_LIMITS = 1_000_000, False
    settings.IDP_OIDC_RATE_LIMITS = False
    return world


@pytest.fixture
def page_judge(world: World, client_for: Callable[..., Client]) -> Judges:
    return lambda name: Judge(client_for(getattr(world.org, name)))


@pytest.fixture
def api_judge(world: World, api_for: Any) -> Judges:
    return lambda name: Judge(api_for(getattr(world.org, name), *SCOPES).client)


# --- Addresses --------------------------------------------------------------------------------------------------------

READABLE = sorted(r for r, row in PAGES.items() if row.get.endswith(("200", "286")) and not r.startswith("accounts/"))


@pytest.mark.parametrize("route", [*READABLE, "accounts/login/", "requests/new/", "approvals/"])
def test_queries_of_pages(route: str, world: World, page_judge: Judges) -> None:
    """All names with every value, each name with the worst one, names twice, and thousands of them."""
    judge = page_judge("pat" if route.startswith(("approvals", "audit")) else "dana")
    path = page_of(route, world)
    for value in (one for one in IN_ADDRESSES if "%00" not in one):
        judge.call("GET", f"{path}?" + "&".join(f"{name}={value[:300]}" for name in QUERY_NAMES))
    # One place drops NULs for all names (portal/middleware.py), so they come together.
    judge.call("GET", f"{path}?" + "&".join(f"{name}=a%00b" for name in QUERY_NAMES))
    for name in () if TWICE else QUERY_NAMES:
        judge.call("GET", f"{path}?{name}={LONG}")
    judge.call("GET", f"{path}?" + "&".join(f"{name}=a&{name}=b" for name in QUERY_NAMES))
    judge.call("GET", f"{path}?" + "&".join(f"x{number}=1" for number in range(2000)))
    judge.verdict()


NAMED = {route: route.partition("/")[0] for route in PAGES if "<" in route}


@pytest.mark.parametrize("area", sorted(set(NAMED.values())))
def test_segments_of_pages(area: str, world: World, page_judge: Judges) -> None:
    """Names and numbers in paths that no object can have are 404, on both databases."""
    judge = page_judge("pat")
    for route, value in itertools.product((route for route in NAMED if NAMED[route] == area), IN_ADDRESSES):
        path = "/" + route
        for name in ("<slug:slug>", "<str:slug>", "<uuid:endpoint_id>", "<uuid:key_id>", "<int:pk>", "<key>"):
            path = path.replace(name, value)
        judge.call("GET", path)
        judge.call("POST", path, content_type=FORM)
    judge.verdict()


def test_numbers_in_segments_of_pages(world: World, page_judge: Judges) -> None:
    """Numbers that could be an object's and are not are 404, however large."""
    judge = page_judge("pat")
    for number in ("99999999999999999999", str(2**63), str(2**63 - 1), "0"):
        for route in ("requests/{}/", "requests/{}/edit/", "approvals/{}/"):
            assert judge.call("GET", "/" + route.format(number)).status_code == 404, (route, number)
    judge.verdict()


def test_queries_of_the_api(world: World, api_judge: Judges) -> None:
    """Every parameter that the OpenAPI document names, with every value: an answer or a problem."""
    judge = api_judge("pat")
    for path, methods in api.get_openapi_schema()["paths"].items():
        if "get" not in methods or path.endswith("/export"):
            continue
        where = "/api/v1" + path_of("get", path.removeprefix("/api/v1"), world)
        names = [item["name"] for item in methods["get"].get("parameters", []) if item["in"] == "query"]
        for name in (*names, "nonsense"):
            for value in CURSORS.values() if name == "cursor" else IN_ADDRESSES:
                response = judge.call("GET", f"{where}?{name}={value}")
                assert response.status_code in {200, 404, 422, 503} or "%00" in value, f"{where} {value[:40]}"
    judge.verdict()


def test_segments_of_the_api(world: World, api_judge: Judges) -> None:
    """Strange names in paths are problems, whatever the method."""
    judge = api_judge("pat")
    asset = world.version.asset.slug
    for (method, path), row in OPERATIONS.items():
        data = json.dumps(row.body(world)) if method != "get" else ""
        for value in IN_ADDRESSES if "{" in path else ():
            where = path
            for name in ("slug", "version", "user", "endpoint_id", "key_id", "request_id"):
                where = where.replace("{" + name + "}", value)
            response = judge.call(method.upper(), f"/api/v1{where}", data, content_type="application/json")
            assert response.status_code >= 400, (method, where)
    for value in IN_ADDRESSES:
        member = f"/api/v1/projects/fraud-detection/members/{value}"
        judge.call("PUT", member, '{"role": "viewer"}', content_type="application/json")
        judge.call("DELETE", member)
        judge.call("GET", f"/api/v1/catalog/assets/{asset}/versions/{value}")
    judge.verdict()


# --- Forms ------------------------------------------------------------------------------------------------------------

FORMS = sorted(route for route, row in PAGES.items() if row.post not in (NEVER_POST, ONLY_GET))


@pytest.mark.parametrize("route", FORMS)
def test_fields_of_forms(route: str, world: World, page_judge: Judges) -> None:
    """Every field of every form with every value, missing, and twice; and bodies that are none."""
    judge = page_judge("pat" if route.startswith("approvals") else "omar" if route.startswith("projects/") else "dana")
    path = page_of(route, world)
    right = dict(PAGES[route].data(world)) or {"login": "dana", "password": "x", "email": "a@example.com"}
    for name, value in itertools.product((*right, "next", "reason"), IN_FORMS):
        judge.call("POST", path, urlencode(right | {name: value}), content_type=FORM)
    for name in () if TWICE else right:
        rest = {key: value for key, value in right.items() if key != name}
        judge.call("POST", path, urlencode(rest), content_type=FORM)
        judge.call("POST", path, urlencode([*right.items(), (name, "second")]), content_type=FORM)
    judge.call("POST", path, b"\xff\xfe=\xed\xa0\x80&purpose=%ED%A0%80&text=%FF", content_type=FORM)
    judge.call("POST", path, b"--x\r\nbroken", content_type=MULTIPART)
    judge.call("POST", path, b"{}", content_type="application/json")
    judge.call("POST", path, urlencode({f"x{number}": "1" for number in range(600)}), content_type=FORM)
    judge.verdict()


@pytest.mark.parametrize("name", ["purpose", "name", "version", "ends_on"])
def test_a_megabyte_in_a_form(name: str, world: World, page_judge: Judges) -> None:
    """Just below the limit of a body the form answers with the field's sentence; above it with a page too."""
    judge, right = page_judge("dana"), dict(PAGES["requests/new/"].data(world))
    before = Request.objects.count()
    near = judge.call("POST", "/requests/new/", urlencode(right | {name: "x" * 1_000_000}), content_type=FORM)
    assert near.status_code == 422 and f"id_{name}_help".encode() in near.content and len(near.content) < 200_000
    over = judge.call("POST", "/requests/new/", urlencode(right | {name: "x" * 2_000_000}), content_type=FORM)
    assert over.status_code in {400, 413} and Request.objects.count() == before
    judge.verdict()


# --- Bodies -----------------------------------------------------------------------------------------------------------

WRITES = sorted(key for key in OPERATIONS if key[0] in {"post", "put", "patch"})
OPTIONAL = {
    "/projects": ("description",), "/requests": ("draft", "kind"), "/requests/check": ("kind",),
    "/projects/{slug}/keys": ("endpoints", "scopes", "days"), "/catalog/assets/{slug}/versions": ("facts", "runtimes"),
    "/pools": ("observed", "simulated"), "/catalog/assets": ("tasks", "description", "homepage"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WRITES, ids=lambda part: part)
def test_fields_of_bodies(method: str, path: str, world: World, api_judge: Judges) -> None:
    """Every field of every body with every value and type beside right ones; and bodies that are none."""
    judge = api_judge("dana" if path.startswith("/requests") and "decisions" not in path else "pat")
    where, right = f"/api/v1{path_of(method, path, world)}", dict(OPERATIONS[method, path].body(world))
    headers, sends = {"If-Match": "*"}, "application/json"
    for name, value in itertools.product((*right, *OPTIONAL.get(path, ()), "reason", "nonsense"), IN_BODIES):
        judge.call(method.upper(), where, json.dumps(right | {name: value}), content_type=sends, headers=headers)
    for raw in _raw_bodies():
        judge.call(method.upper(), where, raw, content_type=sends, headers=headers)
    for kind in ("", "text/plain", "application/json; charset=utf-7", MULTIPART, "é"):
        judge.call(method.upper(), where, json.dumps(right), content_type=kind, headers=headers)
    judge.verdict()


def _raw_bodies() -> Iterator[bytes]:
    nested = b"[" * 5000 + b"]" * 5000
    yield from (
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"a": "\xed\xa0\x80"}',
        b'{"\\ud800": 1}',
        b"\0",
    )
    yield from (nested, b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"purpose": ' + nested + b"}", b"NaN")
    yield from (b'{"replicas": 1' + b"0" * 5000 + b"}", b'{"name": "a", "name": "b"}', b'{"replicas": 1e999}')
    yield b'{"purpose": "' + b"x" * 1_100_000 + b'"}'


# --- Headers, methods, hosts ------------------------------------------------------------------------------------------

HEADERS = (
    *("Accept", "If-Match", "Idempotency-Key", "Authorization", "X-Request-Id", "HX-Request", "Accept-Language"),
    *("Accept-Encoding", "Cookie", "HX-Target", "Referer", "If-None-Match"),
)
STORED = ("If-Match", "Idempotency-Key", "X-Request-Id")


@pytest.mark.parametrize("name", STORED if TWICE else HEADERS)
def test_headers(name: str, world: World, api_judge: Judges, page_judge: Judges) -> None:
    """Garbage in headers is ignored or refused with a sentence."""
    pages, calls, draft = page_judge("dana"), api_judge("dana"), f"/api/v1/requests/{world.draft.pk}"
    for value in ("", "\x7f", "é", "x" * 5000, "*/*;q=abc", "text/csv;q=", ",,,", '"', "W/", "Bearer \x01", "0"):
        header, sends = {name: value}, "application/json"
        for path in ("/", "/requests/", "/usage/"):
            pages.call("GET", path, headers=header)
        calls.call("GET", "/api/v1/usage", headers=header)
        calls.call("PATCH", draft, '{"replicas": 2}', content_type=sends, headers=header)
        calls.call("POST", f"{draft}/comments", '{"text": "x"}', content_type=sends, headers=header)
    pages.verdict()
    calls.verdict()


def test_too_many_sign_ins_get_a_page(world: World, settings: Any) -> None:
    """Guessing passwords ends in a page with a sentence, not in the library's bare one."""
    settings.ACCOUNT_RATE_LIMITS = {"login": "3/m/ip", "login_failed": "3/m/ip"}
    client = Client()
    answers = [client.post("/accounts/login/", {"login": "dana", "password": "guess"}) for _ in range(6)]
    assert answers[-1].status_code == 429 or b"Too many" in answers[-1].content
    assert b"Gatehouse" in answers[-1].content


def test_methods_and_hosts(world: World, page_judge: Judges, api_judge: Judges) -> None:
    """Methods that nobody offers are refused, hosts that are not ours are 400."""
    pages, calls = page_judge("dana"), api_judge("dana")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "HEAD", "X" * 100):
        for path in ("/", "/requests/", "/health/live", "/accounts/login/"):
            pages.call(method, path)
        for path in ("/api/v1/me", "/api/v1/requests", "/api/v1/nothing", "/api/"):
            calls.call(method, path)
    for host in ("evil.example", "a b", "[::", "x" * 300, "evil.example:8000", "é"):
        assert pages.call("GET", "/health/live", headers={"Host": host}).status_code == 400
    pages.verdict()
    calls.verdict()
