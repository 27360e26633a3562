"""The usage page: page, files and API say the same as the ledger."""

import csv
import datetime as dt
import io
import re
from decimal import Decimal
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models import Sum
from django.utils import timezone

from audit.services import system
from projects import keys
from projects.models import User
from quotas import services
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool, Quota, Reservation, UsageEvent
from tests.conftest import Org
from tests.quotas.conftest import call

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
HOUR = dt.timedelta(hours=1)
NUMBERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens")
GROUPS = ("project", "endpoint", "key", "person")


@pytest.fixture
def calls(org: Org, tmp_path, monkeypatch) -> Org:
    """Calls of the last three days by two people, two keys and the playground; two endpoints hold GPUs, one is idle.

    The clock stands still: what is held costs more each minute.
    """
    now = timezone.now().replace(second=0)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    made = [
        keys.issue(org.principal(person), project=org.fraud, name=name, scopes=["inference:invoke"], purpose=purpose)[0]
        for person, name, purpose in (
            (org.dana, "=nightly", "api"), (org.omar, "casework", "api"), (org.dana, "p1", "playground"),
            (org.omar, "p2", "playground"),
        )
    ]  # fmt: skip
    with Journal(tmp_path / "journal") as journal:
        for number in range(48):
            key = made[number % 4]
            start = {
                "project_id": org.fraud.pk, "at": now - number * 1.5 * HOUR, "person": key.person.username,
                "key_id": str(key.pk), "key": key.prefix, "endpoint": f"e{number % 3}",
                "endpoint_id": f"id-{number % 3}",
            }  # fmt: skip
            failed = {"outcome": "error", "status": 502} if number % 7 == 0 else {}
            call(journal, start=start, input_tokens=100 + number, ttft_ms=50.0 + 10 * number, **failed)
        call(journal, start={"project_id": org.search.pk, "at": now, "endpoint": "rerank", "endpoint_id": "id-r"})
        assert ingest(tmp_path / "journal") == 49
    pool = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)
    for holder in ("id-0", "id-idle"):
        services.reserve(
            system("t"), pool, 2, holder=("endpoint", holder), project=org.fraud, price=Decimal("1.5"), currency="EUR"
        )
    Reservation.objects.update(held_at=now - 10 * HOUR)
    return org


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def files(response) -> list[dict[str, str]]:
    assert response.headers["Content-Type"].startswith("text/csv"), response.content[:300]
    return list(csv.DictReader(io.StringIO(response.content.decode())))


class Table(HTMLParser):
    """Reads the values of the rows of the table "By …": what stands in `data`, and the words of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.values: list[list[str]] = []
        self.names: list[str] = []
        self._row = self._name = False
        self.feed(html[html.index('class="pf-v6-c-table pf-m-compact pf-m-grid-md gh-usage"') :].split("</table>")[0])

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.values.append([])
        if tag == "data":
            self.values[-1].append(dict(attrs).get("value") or "")
        self._name = (tag == "th" and ("scope", "row") in attrs) or (self._name and tag not in ("td", "th"))

    def handle_data(self, data):
        if self._name and data.strip():
            self.names.append(data.strip())


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("span", ["24h", "7d", "30d"])
def test_the_file_has_exactly_the_rows_of_the_table(calls, client_for, group, span):
    client, address = client_for(calls.pat), f"/usage/?project=&range={span}&group_by={group}"
    table = Table(client.get(address).content.decode())
    rows = files(client.get(f"{address}&format=csv"))
    columns = ["requests", "input_tokens", "output_tokens", "cached_tokens", "errors"]
    columns += ["cost"] if group in ("project", "endpoint") else []
    columns += ["share", *(f"{what}_{one}" for what in ("ttft", "latency") for one in ("p50", "p95", "p99"))]
    shown = [row for row in table.values if row]
    assert [[row[name] for name in columns] for row in rows] == shown
    own = {"project": "project", "endpoint": "endpoint", "key": "name", "person": "person"}[group]
    assert [row[own].removeprefix("'") for row in rows] == [name for name in table.names if name in
            {row[own].removeprefix("'") for row in rows}]  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_page_files_api_and_ledger_count_the_same(calls, client_for, api_for, group):
    """Whichever way one asks, the sums are those of the calls."""
    ledger = UsageEvent.objects.filter(project_id=calls.fraud.pk).aggregate(
        **{f"sum_{name}": Sum(name) for name in NUMBERS if name not in ("requests", "errors")}
    )
    events = UsageEvent.objects.filter(project_id=calls.fraud.pk)
    wanted = {name.removeprefix("sum_"): value for name, value in ledger.items()}
    wanted |= {"requests": events.count(), "errors": events.filter(outcome__in=("error", "interrupted")).count()}
    client, address = client_for(calls.dana), f"/usage/?range=30d&group_by={group}"
    table = files(client.get(f"{address}&format=csv"))
    series = files(client.get(f"{address}&format=series"))
    start = (timezone.now() - dt.timedelta(days=29)).date()
    answer = api_for(calls.dana).get(f"/usage?from={start}&group_by={group}&limit=200").json()
    shown = text_of(client.get(address))
    for name in NUMBERS:
        assert sum(int(row[name]) for row in table) == wanted[name], name
        assert sum(int(row[name]) for row in series) == wanted[name], name
        assert sum(row[name] for row in answer["items"]) == wanted[name], name
    assert f"{wanted['input_tokens']:,} in, {wanted['output_tokens']:,} out" in shown
    assert f"{wanted['requests']:,}" in shown
    assert sum(float(row["share"]) for row in table) == pytest.approx(100, abs=0.3)


def test_cost_is_the_same_on_page_in_files_and_api(calls, client_for, api_for):
    client, address = client_for(calls.dana), "/usage/?range=7d&group_by=endpoint"
    table = files(client.get(f"{address}&format=csv"))
    by_name = {row["endpoint"]: row for row in table}
    assert Decimal(by_name["e0"]["cost"]) == pytest.approx(Decimal(30), abs=Decimal("0.05"))  # 2 × 1.50 × 10 h
    assert (by_name["e0"]["currency"], by_name["e0"]["cost_centre"], by_name["e0"]["owner_team"]) == (
        "EUR", "CC-4711", "Risk",
    )  # fmt: skip
    assert (
        by_name["never called (id-idle)"]["requests"] == "0" and Decimal(by_name["never called (id-idle)"]["cost"]) > 29
    )  # idle costs as much
    assert (by_name["e1"]["cost"], by_name["e1"]["currency"]) == ("", "")
    series = files(client.get(f"{address}&format=series"))
    start = (timezone.now() - dt.timedelta(days=6)).date()
    answer = api_for(calls.dana).get(f"/usage?from={start}&group_by=endpoint&limit=200").json()["items"]
    for rows in (series, answer):
        parts = sum(Decimal(row["cost"]) for row in rows if row["endpoint"] == "e0" and row["cost"])
        assert parts == pytest.approx(Decimal(by_name["e0"]["cost"]), abs=Decimal("0.05"))
    shown = text_of(client.get(address))
    assert "not priced" in shown and "€\u00a060.0" in client.get(address).content.decode()
    by_key = client.get("/usage/?group_by=key")
    assert "Cost centre, team" in text_of(by_key) and "list price" not in text_of(by_key)


def test_nothing_of_a_stranger_shows(calls, client_for):
    page = client_for(calls.cy).get("/usage/?group_by=endpoint")
    assert page.status_code == 200 and "rerank" in text_of(page)
    for word in ("fraud-detection", "e0", "nightly", "CC-4711", "omar", "€"):
        assert word not in page.content.decode().split("<main")[1], word


def test_the_playground_is_one_line_and_no_choice(calls, client_for):
    html = client_for(calls.dana).get("/usage/?group_by=key").content.decode()
    assert Table(html).names.count("Playground") == 1
    assert "dana, omar" in html
    options = html[html.index('id="id_key"') :].split("</select>")[0]
    assert options.count("<option") == 3  # all, and the two keys
    rows = files(client_for(calls.dana).get("/usage/?group_by=key&format=csv"))
    assert {row["name"] for row in rows} == {"'=nightly", "casework", "Playground"}
    series = files(client_for(calls.dana).get("/usage/?group_by=key&format=series"))
    assert {row["name"] for row in series} == {"'=nightly", "casework", "Playground"}


@pytest.mark.parametrize(("sort", "column"), [
    ("requests", "requests"), ("-requests", "requests"), ("input_tokens", "input_tokens"), ("-errors", "errors"),
    ("ttft", "ttft_p95"), ("-latency", "latency_p95"), ("-cost", "cost"), ("name", "endpoint"), ("-name", "endpoint"),
])  # fmt: skip
def test_the_table_sorts(calls, client_for, sort, column):
    client = client_for(calls.dana)
    rows = files(client.get(f"/usage/?sort={sort}&format=csv"))
    known = [row[column] for row in rows if row[column]]
    ordered = sorted(known, key=lambda one: one if column == "endpoint" else float(one))
    assert known == (ordered[::-1] if sort.startswith("-") else ordered)
    html = client.get(f"/usage/?sort={sort}").content.decode()
    assert f'aria-sort="{"descending" if sort.startswith("-") else "ascending"}"' in html
    assert [row[column] for row in rows][-1] == "" or column != "cost"  # without a price: last


def test_many_groups_come_in_pages_and_the_file_has_all(calls, client_for, tmp_path):
    with Journal(tmp_path / "more") as journal:
        for number in range(120):
            start = {"project_id": calls.fraud.pk, "at": timezone.now(), "key_id": f"k{number}", "endpoint": "e0"}
            call(journal, start=start | {"endpoint": f"many-{number:03}", "endpoint_id": f"many-{number}"})
        ingest(tmp_path / "more")
    client = client_for(calls.dana)
    seen = []
    for number in (1, 2, 3):
        seen += Table(client.get(f"/usage/?sort=name&page={number}").content.decode()).names
    rows = [row["endpoint"] for row in files(client.get("/usage/?sort=name&format=csv"))]
    assert [name for name in seen if name in rows] == rows and len(rows) == 124
    assert "101" in text_of(client.get("/usage/?page=99"))  # beyond the end is the end
    assert "other endpoints" in text_of(client.get("/usage/"))


def test_every_plot_has_a_table_and_a_sentence(calls, client_for):
    html = client_for(calls.dana).get("/usage/?range=24h").content.decode()
    plots = html.split('class="gh-plot"')[1:]
    assert len(plots) == 4
    for plot in plots:
        assert re.search(r'role="img" aria-label="[^"]{20,}"', plot)
        assert plot.split("</table>")[0].count('scope="row"') == 24
        assert "Show the numbers as a table" in plot
    sums = [int(value) for value in re.findall(r'<data value="(\d+)">', plots[2])]
    assert (
        sum(sums)
        == UsageEvent.objects.filter(
            at__gte=timezone.now().replace(minute=0) - 23 * HOUR, project_id=calls.fraud.pk
        ).count()
    )
    assert "vendor/uplot.min.js" in html and "charts.js" in html
    assert "uplot" not in client_for(calls.dana).get("/usage/?endpoint=nothing").content.decode()
    assert "uplot" not in client_for(calls.dana).get("/").content.decode()


def test_a_row_of_a_plot_zooms_in_and_leads_back(calls, client_for):
    client = client_for(calls.dana)
    html = client.get("/usage/?range=7d&endpoint=e0").content.decode()
    link = re.findall(r'scope="row"><a href="([^"]+range=custom[^"]+)"', html)[6].replace("&amp;", "&")
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    today = f"{timezone.now():%Y-%m-%d}"
    assert (query["back"], query["endpoint"], query["from"]) == ("7d", "e0", f"{today}T00:00Z")
    zoomed = client.get(f"/usage/{link}")
    assert "Tokens per hour" in text_of(zoomed) and "Back to the last 7 days" in text_of(zoomed)
    deeper = re.findall(r'scope="row"><a href="([^"]+range=custom[^"]+)"', zoomed.content.decode())[0]
    assert "back=7d" in deeper
    (back,) = re.findall(r'href="([^"]+)"><span class="pf-v6-c-button__icon[^>]*><svg[^>]*><use href="[^"]*#left"',
                         zoomed.content.decode())  # fmt: skip
    assert {name: values[0] for name, values in parse_qs(urlsplit(back.replace("&amp;", "&")).query).items()} == {
        "range": "7d", "endpoint": "e0",
    }  # fmt: skip
    own = client.get("/usage/?range=custom&from=2026-11-01&to=2026-11-09").content.decode()
    assert "Back to" not in own
    inner = re.findall(r'scope="row"><a href="([^"]+)"', own) or [""]
    assert not inner[0] or "back=2026-11-01T00%3A00Z%2C2026-11-10T00%3A00Z" in inner[0]


def test_a_way_back_that_is_no_range_is_no_link(calls, client_for):
    for back in ("javascript:alert(1)", "//evil.example", "x,y", ","):
        page = client_for(calls.dana).get("/usage/", {"range": "24h", "back": back})
        assert page.status_code == 200
        main = page.content.decode().split("<main")[1].split("</main>")[0]
        assert "Back to the" not in main and "evil" not in main and "alert" not in main


def test_a_custom_range_is_in_the_zone_of_the_person(calls, client_for):
    User.objects.filter(pk=calls.dana.pk).update(zone="Asia/Kolkata")
    local = timezone.now().astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30))).date()
    first = local - dt.timedelta(days=5)
    response = client_for(calls.dana).get(f"/usage/?range=custom&from={first}&to={local}&format=series&group_by=person")
    starts = {row["start"] for row in files(response)}
    assert starts and all(start.endswith("T19:00:00Z") for start in starts)
    text = text_of(client_for(calls.dana).get(f"/usage/?range=custom&from={first}&to={local}"))
    assert "your zone, Asia/Kolkata (UTC+05:30)" in text and "From (Asia/Kolkata)" in text
    User.objects.filter(pk=calls.dana.pk).update(zone="Nowhere/Land")
    assert client_for(calls.dana).get("/usage/").status_code == 200


def test_a_custom_range_counts_the_calls_between_its_days(org, client_for, tmp_path):
    """Midnight in Kolkata is 18:30 UTC; the hour that begins at 18:00 UTC belongs to the day before."""
    User.objects.filter(pk=org.dana.pk).update(zone="Asia/Kolkata")
    day = timezone.now().date() - dt.timedelta(days=3)
    before = dt.datetime(day.year, day.month, day.day, 18, 10, tzinfo=dt.UTC)
    with Journal(tmp_path / "journal") as journal:
        for number in range(5):
            call(journal, start={"project_id": org.fraud.pk, "at": before + number * HOUR})
        ingest(tmp_path / "journal")
    following = day + dt.timedelta(days=1)
    rows = files(client_for(org.dana).get(
        f"/usage/?range=custom&from={following}&to={following + dt.timedelta(days=3)}&format=series&group_by=person"
    ))  # fmt: skip
    assert [(row["start"], row["requests"]) for row in rows] == [(f"{day}T19:00:00Z", "4")]


@pytest.mark.parametrize("query", [
    "group_by=colour", "sort=size", "page=0", "page=x", "page=9999999", "range=99d", "sort=--name", "page=²",
])  # fmt: skip
def test_what_the_address_cannot_mean_is_said(calls, client_for, query):
    response = client_for(calls.dana).get(f"/usage/?{query}")
    assert response.status_code == 422
    assert "This cannot be shown" in text_of(response)


@pytest.mark.parametrize("query", [
    "endpoint=%00", "key=%F0%9F%98%80", f"person={'x' * 5000}", "format=xml", "from=%00&to=%00", "back=%00,%00",
    "endpoint=' OR 1=1 --", "project=%00",
])  # fmt: skip
def test_hostile_addresses_never_break_the_page(calls, client_for, query):
    assert client_for(calls.dana).get(f"/usage/?{query}").status_code in {200, 404, 422}


def test_filters_by_person_and_group_stay_in_every_link(calls, client_for):
    html = client_for(calls.dana).get("/usage/?person=omar&group_by=key&range=30d&sort=name").content.decode()
    main = html.split("<main")[1]
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(\?[^"]+)"', main)]
    assert len(links) > 40
    for link in links:
        assert "person=omar" in link, link
    ranges = [link for link in links if re.search("range=(24h|7d|month)", link)]
    assert all("group_by=key" in link and "sort=name" in link for link in ranges)
    assert "format=csv" in "".join(links) and "format=series" in "".join(links)


def test_it_asks_the_same_for_much_and_little(calls, client_for, tmp_path, django_assert_max_num_queries):
    with Journal(tmp_path / "more") as journal:
        for number in range(200):
            row = {"project_id": calls.fraud.pk, "at": timezone.now() - number * HOUR, "person": f"p{number}"}
            row |= {"endpoint": f"m{number}", "endpoint_id": f"m{number}", "key_id": f"k{number}", "key": f"k{number}"}
            call(journal, start=row)
        ingest(tmp_path / "more")
    Quota.objects.create(project=calls.fraud, kind="tokens", target_kind="project", window="month", hard=9_000)
    client = client_for(calls.dana)
    client.post("/projects/switch/", {"project": "fraud-detection"})
    one = "project=fraud-detection&range=month"
    for query in ("", "group_by=key", one, "format=csv", "format=series&group_by=key"):
        with django_assert_max_num_queries(15):
            assert client.get(f"/usage/?{query}").status_code == 200
