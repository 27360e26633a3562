"""Pages by keyset: every row once in both directions, with nulls and equal values, while rows come and go."""

import base64
import datetime as dt
import json
import random
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models import IntegerField, QuerySet
from django.db.models.functions import Length
from django.http import QueryDict
from django.test import RequestFactory
from django.utils import timezone

from portal import listing
from portal.listing import Column, Listing, keyset
from portal.listing import page as pages
from projects import keys
from projects.models import ApiKey
from projects.principal import Principal
from tests.conftest import Org
from tests.test_hostile_input import CURSORS

pytestmark = pytest.mark.slow

KEYS = Listing(
    route="test_keyset",
    nouns=("key", "keys"),
    columns=(
        Column("name", "Name", ("name",), fixed=True),
        Column("used", "Last used", ("last_used_at",)),
        Column("person", "Person", ("person__username", "-name")),
        Column("length", "Length", ("length",)),
        Column("state", "State", ("state",)),
        Column("plain", "Not sortable"),
    ),
    sort="name",
    size=25,
)
SORTS = [f"{sign}{column.name}" for column in KEYS.columns if column.sort for sign in ("", "-")]


def rows() -> QuerySet[Any]:
    return ApiKey.objects.select_related("person").annotate(length=Length("name", output_field=IntegerField()))


def read(**query: Any) -> listing.Asked:
    return listing.read(RequestFactory().get("/list/", query), KEYS)


def find(url: str = "/list/", size: int = 0) -> listing.Found:
    """The page at an address of the list; `size` that no address can ask for."""
    asked = listing.read(RequestFactory().get(url), KEYS)
    if size:
        object.__setattr__(asked, "size", size)
    return listing.find(asked, rows())


@pytest.fixture
def many(org: Org) -> list[ApiKey]:
    """Keys with equal names, equal times and no times at all."""
    order, now, made = random.Random(7), timezone.now(), []
    for number in range(41):
        who = Principal.of(order.choice([org.dana, org.omar]))
        key, _ = keys.issue(who, project=org.fraud, name="k" * (1 + number % 5), scopes=["inference:invoke"])
        used = None if number % 3 == 0 else now - dt.timedelta(microseconds=order.randrange(6))
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=used)
        made.append(key)
    return made


@pytest.mark.parametrize("sort", SORTS)
def test_there_and_back_again(many: list[ApiKey], sort: str) -> None:
    """Forward through all pages and back: each row once, in one order, with true numbers in the pager."""
    forward, back, starts = [], [], []
    found = find(f"/list/?sort={sort}", size=7)
    whole = [row.pk for row in keyset.ordered(rows(), keyset.keys(rows(), found.asked.order))]
    assert found.earlier == ""
    while True:
        forward.append([row.pk for row in found.rows])
        starts.append(found.pager()["start"])
        if not found.later:
            break
        found = find(found.pager()["next_url"], size=7)
    assert [pk for page in forward for pk in page] == whole and len(set(whole)) == 41
    assert starts == [1, 8, 15, 22, 29, 36] and found.pager()["end"] == 41 == found.pager()["total"]
    while True:
        back.append([row.pk for row in found.rows])
        if not found.earlier:
            break
        found = find(found.pager()["previous_url"], size=7)
        assert found.pager()["start"] == starts[-len(back) - 1]
    assert back[::-1] == forward


@pytest.mark.parametrize("sort", ["used", "-used"])
def test_null_is_last_in_both_directions(many: list[ApiKey], sort: str) -> None:
    found = find(f"/list/?sort={sort}&size=100")
    times = [row.last_used_at for row in found.rows]
    known = [time for time in times if time is not None]
    assert times == sorted(known, reverse=sort.startswith("-")) + [None] * 14


def test_rows_that_come_and_go_move_nothing(org: Org, many: list[ApiKey]) -> None:
    """A row before the page is added, the row of the cursor itself is deleted: no row is skipped or shown twice."""
    first = find("/list/?sort=used", size=10)
    keys.issue(Principal.of(org.dana), project=org.fraud, name="a", scopes=["inference:invoke"])
    ApiKey.objects.filter(name="a").update(last_used_at=timezone.now() - dt.timedelta(days=1))
    first.rows[-1].delete()
    second = find(first.pager()["next_url"], size=10)
    rest = [row.pk for row in keyset.ordered(rows(), keyset.keys(rows(), second.asked.order))][10:20]
    assert [row.pk for row in second.rows] == rest
    assert not {row.pk for row in first.rows} & {row.pk for row in second.rows}


def test_numbers_stay_honest_when_rows_go(many: list[ApiKey]) -> None:
    """The pager never says more than there is, and both ends are counted from the end."""
    found = find("/list/", size=10)
    third = find(find(found.pager()["next_url"], size=10).pager()["next_url"], size=10)
    ApiKey.objects.filter(pk__in=[row.pk for row in found.rows]).delete()
    again = find(third.asked.url(after=third.asked.after), size=10)
    pager = again.pager()
    assert pager["total"] == 31 and pager["end"] <= 31
    last = find(again.pager()["next_url"], size=20).pager()
    assert (last["start"], last["end"], last["next_url"]) == (31 - 11 + 1, 31, "")
    back = find(again.pager()["previous_url"], size=100).pager()
    assert back["start"] == 1 and back["previous_url"] == ""


def test_an_emptied_page_falls_back_to_the_first(many: list[ApiKey]) -> None:
    found = find("/list/", size=30)
    ApiKey.objects.exclude(pk__in=[row.pk for row in found.rows]).delete()
    after = find(found.pager()["next_url"], size=30)
    assert len(after.rows) == 30 and "Nothing is left on that page; here is the first one." in after.asked.notices


def test_nothing_at_all(org: Org) -> None:
    pager = find().pager()
    assert (pager["start"], pager["end"], pager["total"]) == (0, 0, 0)
    assert pager["previous_url"] == pager["next_url"] == "" and pager["sizes"] == []


@pytest.mark.parametrize("name", CURSORS)
@pytest.mark.parametrize("side", ["after", "before"])
@pytest.mark.parametrize("sort", ["used", "name"])
def test_cursors_that_nobody_gave_out(many: list[ApiKey], name: str, side: str, sort: str) -> None:
    found = find("/list/?" + urlencode({"sort": sort}) + f"&{side}={CURSORS[name]}")
    assert len(found.rows) == 25 and found.pager()["start"] == 1
    assert len(found.asked.notices) == 1 and "has not given out" in found.asked.notices[0]


HOSTILE = [
    ["used", 1, "2026-11-20T10:00:00", "x"],  # no zone
    ["used", 1, "9999-12-31T23:59:59-23:59", "x"],
    ["used", 0, None, "x"],
    ["used", True, None, "x"],
    ["used", 1, True, "x"],
    ["used", 1, 1.5, "x"],
    ["used", 1, None, "not-a-uuid"],
    ["used", 1, None, None],
    ["name", 1, None, "x"],
    ["used", 10**30, None, "x"],
    ["used", 1, None],
]


@pytest.mark.parametrize("parts", HOSTILE, ids=str)
def test_values_that_no_column_holds(parts: list[Any]) -> None:
    columns = keyset.keys(rows(), ("last_used_at",))
    cursor = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    with pytest.raises(keyset.BadCursor):
        keyset.decode(cursor, "used", columns)


def test_a_cursor_of_another_order_is_none_of_this(many: list[ApiKey]) -> None:
    cursor = find("/list/?sort=used", size=5).later
    found = find(f"/list/?sort=-used&after={cursor}")
    assert found.pager()["start"] == 1 and "has not given out" in found.asked.notices[0]


def test_annotated_numbers_stay_numbers(many: list[ApiKey]) -> None:
    columns = keyset.keys(rows(), ("length",))
    row = rows().first()
    assert row is not None
    cursor = keyset.encode("length", 3, keyset.values_of(row, columns))
    assert keyset.decode(cursor, "length", columns) == (3, [len(row.name), row.pk])


def test_plain_columns_are_ordered_plainly() -> None:
    """No NULLS LAST where there is no null: an index could not serve it."""
    text = str(keyset.ordered(rows(), keyset.keys(rows(), ("name",))).query)
    assert "NULLS" not in text and re.search(r'"name" ASC, .*"id" ASC$', text)
    assert "NULLS LAST" in str(keyset.ordered(rows(), keyset.keys(rows(), ("-last_used_at",))).query)


def test_the_open_row_is_on_its_page(many: list[ApiKey], django_assert_num_queries: Any) -> None:
    """A row on the page costs nothing more; one that is elsewhere begins the page, and the pager goes on from there."""
    asked = read()
    ordered = list(keyset.ordered(rows(), keyset.keys(rows(), asked.order)))
    with django_assert_num_queries(2):
        assert listing.find(asked, rows(), showing=ordered[3]).rows == ordered[:25]
    with django_assert_num_queries(2):  # where it stands is known
        found = listing.find(asked, rows(), showing=ordered[30], start=31)
    assert found.rows == ordered[30:] and found.pager()["start"] == 31
    before = find(found.pager()["previous_url"])
    assert before.rows == ordered[5:30]
    unknown = listing.find(asked, rows(), showing=ordered[28])
    assert unknown.rows == ordered[28:] and unknown.pager()["start"] == 29  # the last page: counted from the end


def test_the_row_behind(many: list[ApiKey]) -> None:
    asked = read(sort="-used")
    ordered = list(keyset.ordered(rows(), keyset.keys(rows(), asked.order)))
    assert listing.following(asked, rows().exclude(pk=ordered[4].pk), ordered[4]) == ordered[5]
    assert listing.following(asked, rows().exclude(pk=ordered[-1].pk), ordered[-1]) == ordered[0]
    assert listing.following(asked, rows().none(), ordered[0]) is None


def test_totals_are_exact_to_a_point(many: list[ApiKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the pager says so, and still pages."""
    monkeypatch.setattr(pages, "COUNTED", 40)
    pager = find("/list/?size=25").pager()
    assert (pager["total"], pager["more"], pager["end"]) == (40, True, 25)
    last = find(pager["next_url"]).pager()
    assert (last["start"], last["end"], last["next_url"]) == (26, 41, "")
    monkeypatch.setattr(pages, "COUNTED", 41)
    assert find().pager()["more"] is False


def test_two_queries_a_page(many: list[ApiKey], django_assert_num_queries: Any) -> None:
    following = find().pager()["next_url"]
    for url in ("/list/", following, "/list/?sort=-used&size=100"):
        with django_assert_num_queries(2):
            find(url)
    assert QueryDict(following.partition("?")[2]).keys() == {"after"}
