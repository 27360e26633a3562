"""The engine of list pages: what the address may ask for, the file, and actions on many rows."""

import asyncio
import csv
import io
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from portal import listing
from portal.errors import Conflict, Invalid, NotFound
from portal.listing import BulkAction, Column, Filter, Listing, stream
from portal.listing.spec import SIZES
from projects.models import Project
from tests.conftest import Org

RESULTS = Listing(
    route="test_listing",
    nouns=("project", "projects"),
    columns=(
        Column("project", "Project", ("slug",), {"project": "slug", "name": "name"}, fixed=True),
        Column("team", "Owner team", ("owner_team",), {"team": "team"}),
        Column("size", "Letters", csv={"letters": lambda line: len(line["slug"])}, numeric=True),
        Column("since", "Since", ("created_at",), {"since": "since"}, default=False, first="descending"),
    ),
    filters=(
        Filter("q", "Name", lambda rows, value, request: rows.filter(slug__icontains=value), kind="search", length=20),
        Filter(
            "team",
            "Team",
            lambda rows, value, request: rows.filter(owner_team=value),
            choices=lambda request: [("Risk", "The risk team"), ("Search", "The search team")],
        ),
        Filter("odd", "Odd ones", lambda rows, value, request: rows.filter(slug__endswith="1"), kind="flag"),
        Filter("from", "From", lambda rows, value, request: rows.filter(created_at__date__gte=value), kind="day"),
    ),
    sort="project",
    file="results",
)


def ask(query: str = "") -> listing.Asked:
    return listing.read(RequestFactory().get(f"/list/?{query}"), RESULTS)


def lines(rows: Sequence[Project]) -> list[dict[str, Any]]:
    return [
        {"slug": row.slug, "name": row.name, "team": row.owner_team, "since": row.created_at, "pk": row.pk}
        for row in rows
    ]


@pytest.fixture
def many(db: None) -> list[Project]:
    return Project.objects.bulk_create(
        Project(slug=f"project-{number:03}", name=f"=SUM({number})", owner_team="Risk" if number % 2 else "Search")
        for number in range(60)
    )


# --- the address ------------------------------------------------------------------------------------------------------


def test_it_works(many: list[Project]) -> None:
    """Filters, order, columns and size of the address, and links that keep all of them."""
    asked = ask("q=project&team=Risk&sort=-project&columns=since&size=25")
    found = listing.find(asked, Project.objects.all())
    assert [row.slug for row in found.rows[:2]] == ["project-059", "project-057"] and found.total == 30
    context = found.context()["list"]
    assert asked.notices == [] and context["filtered"] and context["span"] == 2
    assert [column["name"] for column in context["columns"]] == ["project", "since"]  # the fixed one stays
    head = context["columns"][0]
    assert (head["state"], head["next"]) == ("descending", "ascending")
    assert head["url"] == "/list/?q=project&team=Risk&columns=project%2Csince&size=25"  # the default order is not said
    assert [chip["label"] for chip in context["chips"]] == ["Name: project", "Team: The risk team"]
    assert context["chips"][0]["url"] == "/list/?team=Risk&sort=-project&columns=project%2Csince&size=25"
    assert context["clear_url"] == "/list/?sort=-project&columns=project%2Csince&size=25"
    assert context["csv_url"].endswith("&format=csv") and context["csv_label"] == "CSV of all 30 projects"
    assert asked.here == asked.url() and "after=" in found.pager()["next_url"]


def test_the_default_has_no_query(many: list[Project]) -> None:
    """What is the default anyway, and empty fields of a form, leave the address."""
    asked = ask("q=&team=&sort=project&size=50&columns=project,team,size&format=")
    assert asked.url() == "/list/" and asked.notices == [] and not asked.filtered


def test_columns_also_as_a_form_sends_them() -> None:
    assert ask("columns=project&columns=since").columns == ("project", "since")
    assert ask("columns=since,team").columns == ("project", "team", "since")  # in the order of the list


NONSENSE = [
    ("sort=nothing", "The list cannot be sorted by “nothing”; it is sorted by Project."),
    ("sort=size", "The list cannot be sorted by “size”; it is sorted by Project."),
    ("sort=--project", "The list cannot be sorted by “--project”; it is sorted by Project."),
    ("columns=team,nothing", "There is no column “nothing”; the others are shown."),
    ("columns=nothing,since%27", "There is no column “nothing”; the usual ones are shown."),
    ("size=49", "A page has 25, 50 or 100 rows, not “49”."),
    ("size=%D9%A3", "A page has 25, 50 or 100 rows, not “٣”."),
    ("format=xlsx", "The list comes as a page or as csv (at most 10,000 rows), not as “xlsx”."),
    ("team=Nobody", "Team has no choice “Nobody”. The filter was left out."),
    ("odd=yes", "Odd ones is on with 1, not with “yes”. The filter was left out."),
    ("from=2026-02-30", "From is “2026-02-30”; write a date as YYYY-MM-DD. The filter was left out."),
    ("from=0001-01-01", "From is “0001-01-01”; choose a day from 1970 to 9998. The filter was left out."),
    ("q=" + "x" * 21, "Name has 21 characters; the limit is 20. Shorten it. The filter was left out."),
    ("q=a%1Bb", "Name holds a control character. Remove it and send the text again. The filter was left out."),
    ("page=2", "The address asks for “page”, which this list does not know; that was left out."),
    (
        "a=1&b=2&c=3&d=4&e=5",
        "The address asks for “a”, “b”, “c” and 2 more, which this list does not know; that was left out.",
    ),
    ("%1B%5B2J=1", "The address asks for “?[2J”, which this list does not know; that was left out."),
]


@pytest.mark.parametrize(("query", "sentence"), NONSENSE)
def test_nonsense_is_said_and_the_default_shown(many: list[Project], query: str, sentence: str) -> None:
    asked = ask(query)
    assert asked.notices == [sentence]
    assert len(listing.find(asked, Project.objects.all()).rows) == 50
    assert not asked.filtered and asked.sort == "project" and asked.size == 50 and not asked.csv


def test_long_nonsense_is_cut() -> None:
    assert len(ask(f"sort={'x' * 5000}&columns={'y' * 5000}&{'z' * 5000}=1").notices) == 3
    assert all(len(notice) < 200 for notice in ask(f"sort={'x' * 5000}&{'z' * 5000}=1").notices)


def test_a_list_that_contradicts_itself_is_refused() -> None:
    """When it is written, not when somebody looks at it."""
    with pytest.raises(ValueError, match="sort"):
        Listing("x", ("a", "b"), RESULTS.columns, (Filter("sort", "Sort", RESULTS.filters[0].apply),), sort="project")
    with pytest.raises(ValueError, match="nothing"):
        Listing("x", ("a", "b"), RESULTS.columns, sort="nothing")
    assert listing.known("test_listing") and not listing.known("x")


def test_sizes_are_offered_when_they_matter(many: list[Project]) -> None:
    sizes = listing.find(ask(), Project.objects.all()).pager()["sizes"]
    assert [size["n"] for size in sizes] == list(SIZES) and [size["n"] for size in sizes if size["current"]] == [50]
    few = listing.find(ask("q=project-00"), Project.objects.all()).pager()
    assert few["sizes"] == [] and few["total"] == 10 and few["noun"] == "projects"
    assert listing.find(ask("q=project-007"), Project.objects.all()).pager()["noun"] == "project"


# --- the file ---------------------------------------------------------------------------------------------------------


def table(query: str = "") -> list[list[str]]:
    response = listing.csv_response(ask(f"format=csv&{query}"), Project.objects.all(), lines)
    return list(csv.reader(io.StringIO(b"".join(response).decode())))


def test_csv_holds_all_rows_of_all_pages(many: list[Project], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order and with the columns of the page, in batches; formulas disarmed."""
    monkeypatch.setattr(stream, "BATCH", 7)
    rows = table("sort=-project&columns=size&q=project-0")
    assert rows[0] == ["project", "name", "letters"] and len(rows) == 61
    assert rows[1] == ["project-059", "'=SUM(59)", "11"] and rows[-1][0] == "project-000"
    response = listing.csv_response(ask("format=csv"), Project.objects.all(), lines)
    assert response["Content-Disposition"].startswith('attachment; filename="results-20')
    assert response["Content-Type"] == "text/csv; charset=utf-8" and response.streaming


@pytest.mark.parametrize("batch", [7, 10, 500])
def test_csv_ends_at_the_limit(many: list[Project], monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(stream, "BATCH", batch)
    monkeypatch.setattr(stream, "CSV_ROWS", 20)
    assert [row[0] for row in table()[1:]] == [f"project-{number:03}" for number in range(20)]
    monkeypatch.setattr("portal.listing.page.CSV_ROWS", 20)
    label = listing.find(ask(), Project.objects.all()).context()["list"]["csv_label"]
    assert label == "CSV of the first 20 projects"


def test_csv_queries_once_a_batch(many: list[Project], monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connection

    monkeypatch.setattr(stream, "BATCH", 25)
    with CaptureQueriesContext(connection) as queries:
        table()
    assert len(queries) == 3  # 25, 25, 10


@pytest.mark.django_db(transaction=True)
def test_csv_streams_under_asgi(many: list[Project], monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk by chunk: Django would gather the whole file of a plain iterator first."""
    monkeypatch.setattr(stream, "BATCH", 30)
    scope = {"type": "http", "method": "GET", "path": "/list/", "query_string": b"format=csv", "headers": []}
    asked = listing.read(ASGIRequest(scope, io.BytesIO()), RESULTS)

    async def chunks() -> list[bytes]:
        response = listing.csv_response(asked, Project.objects.all(), lines)
        assert response.is_async
        return [chunk async for chunk in response]

    found = asyncio.run(chunks())
    assert len(found) == 3 and b"".join(found).count(b"\r\n") == 61


def test_a_compressed_file_is_one_stream(many: list[Project], client_for: Any, org: Org) -> None:
    """Browsers read only the first of several gzip members; the middleware of the pages must not make them."""
    answer = client_for(org.aud).get("/projects/?format=csv", headers={"Accept-Encoding": "gzip, br"})
    packed = zlib.decompressobj(wbits=31)
    text = packed.decompress(b"".join(answer)).decode()
    assert answer["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer["Vary"]
    assert packed.eof and packed.unused_data == b"" and text.count("\r\n") == 63


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x"])
def test_cells_never_run(text: str) -> None:
    assert listing.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize(("value", "cell"), [(None, ""), (-1, -1), (True, "yes"), (False, "no"), ("a=1", "a=1")])
def test_cells_stay_what_they_are(value: object, cell: object) -> None:
    assert listing.csv_cell(value) == cell


# --- many rows at once ------------------------------------------------------------------------------------------------

ACTIONS = (BulkAction("stop", "Stop", danger=True), BulkAction("start", "Start"))


def form(**fields: Any) -> Any:
    return RequestFactory().post("/list/bulk/", fields)


def test_each_row_has_its_own_outcome() -> None:
    """Done, refused by its state, gone, and hidden: one line each, in the order of the ticks."""

    def act(row: str) -> str:
        if row == "busy":
            raise Conflict("It is busy.")
        if row == "hidden":
            raise NotFound("There is no such thing.")
        return "It is stopped."

    rows = {"1": "idle", "2": "busy", "4": "hidden"}
    found = listing.perform(["2", "1", "3", "4"], rows, act, url=lambda row: f"/{row}/", missing="Not there.")
    assert [(one.label, one.done, one.sentence, one.url) for one in found] == [
        ("busy", False, "It is busy.", "/busy/"),
        ("idle", True, "It is stopped.", "/idle/"),
        ("3", False, "Not there.", ""),
        ("hidden", False, "There is no such thing.", ""),
    ]
    context = listing.outcome_context(found, title="Stop", back_url="/list/", back_label="Back")
    assert context["words"] == "1 of 4 done, 3 refused" and context["kind"] == "warning"
    assert [one.chip["label"] for one in found[:2]] == ["Refused", "Done"]


def test_a_mistake_in_the_code_is_no_refusal() -> None:
    with pytest.raises(ZeroDivisionError):
        listing.perform(["1"], {"1": "x"}, lambda row: str(1 / 0))


def test_ticks_are_counted() -> None:
    assert listing.ticked(form(id=["2", "1", "2", " "])) == ["2", "1"]
    with pytest.raises(Invalid, match="Nothing is ticked"):
        listing.ticked(form())
    assert len(listing.ticked(form(id=[str(number) for number in range(100)]))) == 100
    with pytest.raises(Invalid, match="101 rows are ticked; one action takes at most 100"):
        listing.ticked(form(id=[str(number) for number in range(101)]))


def test_only_known_actions() -> None:
    assert listing.chosen_action(form(action="start"), ACTIONS).label == "Start"
    with pytest.raises(Invalid, match="stop, start"):
        listing.chosen_action(form(action="delete"), ACTIONS)


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        ("/list/?q=a", "/list/?q=a"),
        ("", "/list/"),
        ("https://evil.example/list/?", "/list/"),
        ("//evil.example", "/list/"),
        ("/list/../other/?", "/list/"),
        ("/list/?a\r\nb", "/list/"),
    ],
)
def test_the_way_back_is_the_list(sent: str, back: str) -> None:
    assert listing.back_to(form(next=sent), "/list/") == back
