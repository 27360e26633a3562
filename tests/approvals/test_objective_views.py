"""The page of the calendar: who reads it, who changes it, what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals.models import Calendar
from tests.conftest import Org

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ClientFor = Callable[[Any], Client]
PAGE = "/insights/calendar/"


def form(**fields: Any) -> dict[str, Any]:
    return {"zone": "Europe/Paris", "workdays": ["0", "1", "2"], "holidays": "2026-12-25 Christmas Day\n\n"} | fields


def test_a_lead_changes_it_and_everybody_reads_it(org: Org, client_for: ClientFor) -> None:
    answer = client_for(org.yasmine).post(PAGE, form(), follow=True)
    assert "it counts from now on" in answer.content.decode()
    row = Calendar.objects.get()
    assert (row.zone, row.workdays, row.changed_by) == ("Europe/Paris", [0, 1, 2], org.yasmine)
    assert row.holidays == [{"on": "2026-12-25", "name": "Christmas Day"}]
    for person in (org.dana, org.aud):
        text = client_for(person).get(PAGE).content.decode()
        assert "Christmas Day" in text and "Monday, Tuesday, Wednesday" in text and "<textarea" not in text
        assert client_for(person).post(PAGE, form()).status_code == 403
    assert (
        "Monday to Wednesday, Europe/Paris, without 1 holiday"
        in client_for(org.dana).get("/insights/").content.decode()
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("zone", "Mars/Olympus", "choose one from the list"),
        ("workdays", [], "at least one of the seven"),
        ("workdays", ["9"], "at least one of the seven"),
        ("holidays", "Christmas", "is no date"),
        ("holidays", "2026-12-25", "holidays"),
        ("holidays", "2026-12-25 a\n2026-12-25 b", "twice"),
        ("holidays", "\n".join(f"20{n // 28:02d}-01-{n % 28 + 1:02d} x" for n in range(501)), "the limit is 500"),
    ],
)
def test_bad_input_is_said_and_kept(org: Org, client_for: ClientFor, field: str, value: Any, words: str) -> None:
    answer = client_for(org.pat).post(PAGE, form(**{field: value}))
    text = answer.content.decode()
    assert answer.status_code == 422 and words in text and not Calendar.objects.exists()
    if isinstance(value, str) and field == "holidays":
        assert value.split("\n")[0] in text


def test_a_change_meanwhile_is_said(org: Org, client_for: ClientFor) -> None:
    client = client_for(org.pat)
    was = client.get(PAGE).context["was"]
    client_for(org.yasmine).post(PAGE, form())
    answer = client.post(PAGE, form(zone="UTC", was=was))
    assert answer.status_code == 409 and "another window" in answer.content.decode()
    assert Calendar.objects.get().zone == "Europe/Paris"
