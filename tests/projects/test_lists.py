"""The lists of projects and of the audit log."""

import csv
import io
import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from projects import keys
from projects.models import Membership, Project
from projects.principal import Principal
from tests.conftest import Org

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]


def slugs(html: str) -> list[str]:
    return re.findall(r'href="/projects/[^"/]+/">([a-z-]+)</a>', html)


def table(client: Client, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(client.get(path)).decode())))


def test_projects_filter_order_and_file(org: Org, client_for: Clients) -> None:
    Membership.objects.create(project=org.search, user=org.dana, role="viewer")
    client = client_for(org.dana)
    for query, expected in (
        ("", ["fraud-detection", "search-ranking"]),
        ("sort=cost_centre", ["search-ranking", "fraud-detection"]),
        ("q=risk", ["fraud-detection"]),
        ("q=CC-08", ["search-ranking"]),
        ("role=viewer", ["search-ranking"]),
        ("role=owner", []),
    ):
        assert slugs(client.get(f"/projects/?{query}").content.decode()) == expected, query
    assert "No project matches" in client.get("/projects/?role=owner").content.decode()
    rows = table(client, "/projects/?format=csv")
    assert rows[0] == {
        "project": "fraud-detection",
        "name": "Fraud detection",
        "owner_team": "Risk",
        "cost_centre": "CC-4711",
        "your_role": "developer",
    }


def test_a_stranger_sees_only_own_projects(org: Org, client_for: Clients) -> None:
    assert slugs(client_for(org.cy).get("/projects/").content.decode()) == ["search-ranking"]
    assert [row["project"] for row in table(client_for(org.cy), "/projects/?format=csv")] == ["search-ranking"]
    assert "by platform role" in client_for(org.aud).get("/projects/").content.decode()


@pytest.fixture
def log(org: Org) -> list[Row]:
    """Sixty rows of dana and two of omar."""
    for person, count in ((org.dana, 30), (org.omar, 1)):
        for _ in range(count):
            key, _ = keys.issue(Principal.of(person), project=org.fraud, name="k", scopes=["inference:invoke"])
            keys.revoke(Principal.of(person), key, reason="Because.")
    return list(Row.objects.order_by("-id"))


def ids(html: str) -> int:
    return html.count("<tr") - 1


def test_audit_pages_through_everything(org: Org, client_for: Clients, log: list[Row]) -> None:
    client, seen, url = client_for(org.aud), 0, "/audit/?size=25"
    total = Row.objects.count()  # signing in leaves a row, too
    while url:
        html = client.get(url).content.decode()
        seen += ids(html)
        url = "".join(re.findall(r'rel="next"[^>]*hx-get="([^"]*)"', html)).replace("&amp;", "&")
    assert seen == total == len(log) + 1


def test_audit_filters(org: Org, client_for: Clients, log: list[Row]) -> None:
    client, day = client_for(org.aud), log[0].at.date().isoformat()
    for query, expected in (
        ("actor=omar", 2),
        (f"actor={log[0].actor}", 2),
        ("actor=nobody", 0),
        ("action=keys.revoke", 31),
        ("action=keys.revoke&actor=omar", 1),
        ("project=fraud-detection&size=100", 62),
        (f"object_id={log[0].object_id}", 2),
        (f"from={day}&to={day}&size=100", 63),
        ("to=2020-01-01", 0),
        (f"from={day}&to=9998-12-31&action=keys.issue", 31),
    ):
        html = client.get(f"/audit/?{query}").content.decode()
        assert max(ids(html), 0) == expected, query
    assert "No row matches" in client.get("/audit/?actor=nobody").content.decode()
    assert " open>" in client.get(f"/audit/?from={day}").content.decode()  # the folded filters show what they do


def test_audit_file(org: Org, client_for: Clients, log: list[Row]) -> None:
    rows = table(client_for(org.aud), "/audit/?format=csv&actor=omar&sort=when")
    assert [row["action"] for row in rows] == ["keys.issue", "keys.revoke"] and rows[0]["actor"] == "omar"
    assert rows[1]["reason"] == "Because." and int(rows[0]["row"]) < int(rows[1]["row"])
    assert client_for(org.dana).get("/audit/?format=csv").status_code == 403


def test_few_queries_whatever_the_size(org: Org, client_for: Clients, log: list[Row]) -> None:
    """Four for the list: total, rows, names, views; the frame has its own."""
    Project.objects.bulk_create(Project(slug=f"p-{number}", name="x") for number in range(80))
    client = client_for(org.aud)
    for path, tables in (("/audit/", ("audit_row", "audit_subject")), ("/projects/", ())):
        counts = []
        for size in (25, 100):
            with CaptureQueriesContext(connection) as queries:
                client.get(f"{path}?size={size}")
            own = [query for query in queries if any(name in query["sql"] for name in (*tables, "projects_savedview"))]
            assert len(own) == len(tables) + 1 + bool(tables), path
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 15, path
