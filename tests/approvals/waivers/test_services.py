"""The life of a waiver: it ends by itself, by hand, and never later than it said."""

import ast
import datetime as dt
import inspect
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import findings
from approvals import services as requests
from approvals.models import Finding, Request, Waiver, WaiverState
from approvals.verdicts import FAIL, WAIVED
from approvals.waivers import judging
from approvals.waivers import services as waivers
from audit.models import Row
from endpoints.models import Endpoint
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Notification, User
from projects.principal import Principal
from tests.approvals.envelopes.kit import publish
from tests.approvals.waivers.kit import RULE, ask, failing_draft, grant, rule, waived_draft
from tests.conftest import Org
from tests.factories import lead, make_request

pytestmark = pytest.mark.slow


def failing_endpoint(org: Org) -> Endpoint:
    """An endpoint that runs with more than a new rule allows."""
    made = make_request(org.dana, state="approved", concurrency=8)
    rule()
    endpoint: Endpoint = made.endpoint
    return endpoint


def finding(endpoint: Endpoint) -> Finding:
    return Finding.objects.get(endpoint=endpoint, check_id=RULE, closed_at=None)


def told(kind: str) -> set[str]:
    return set(Notification.objects.filter(kind=kind).values_list("person__username", flat=True))


def test_a_finding_opens_is_waived_and_opens_again(org: Org) -> None:
    endpoint = failing_endpoint(org)
    assert findings.sweep() == 1
    assert finding(endpoint).verdict == FAIL and finding(endpoint).fix == "Ask for four."
    assert told("finding.opened") == {"dana"}
    findings.sweep()
    assert Notification.objects.filter(kind="finding.opened").count() == 1
    waiver = grant(org.omar, endpoint, owner="vic")
    assert (finding(endpoint).verdict, finding(endpoint).waiver) == (WAIVED, waiver)
    findings.sweep()
    assert finding(endpoint).verdict == WAIVED
    assert waivers.expire(today=waiver.ends_on) == 0  # its last day still counts
    day = waiver.ends_on + dt.timedelta(days=1)
    assert waivers.expire(today=day) == 1 and waivers.expire(today=day) == 0
    waiver.refresh_from_db()
    assert waiver.state == WaiverState.EXPIRED and waiver.closed_at is not None
    assert (finding(endpoint).verdict, finding(endpoint).waiver) == (FAIL, None)
    assert told("waiver.expired") == {"vic", "dana", "omar", "yasmine"}
    assert Row.objects.filter(action="waivers.expire", object_id=str(waiver.pk)).count() == 1


def test_a_finding_closes_when_the_rule_holds_again(org: Org) -> None:
    endpoint = failing_endpoint(org)
    findings.sweep()
    publish()
    assert findings.sweep() == 0
    assert Finding.objects.get(endpoint=endpoint).closed_at is not None


def test_publishing_stops_nothing(org: Org) -> None:
    endpoint = failing_endpoint(org)
    before = (endpoint.desired, endpoint.phase)
    findings.sweep()
    endpoint.refresh_from_db()
    assert (endpoint.desired, endpoint.phase) == before


def test_the_sweep_asks_no_more_for_more_endpoints(org: Org) -> None:
    counts = []
    for many in (1, 4):
        publish()
        for _ in range(many):
            make_request(org.dana, state="approved", concurrency=8)
        rule()
        assert findings.sweep() == Finding.objects.filter(closed_at=None).count()
        with CaptureQueriesContext(connection) as asked:
            findings.sweep()
        counts.append(len(asked))
    assert counts[0] == counts[1], [one["sql"][:300] for one in asked.captured_queries]


def test_reminders_come_14_and_3_days_before_and_once(org: Org) -> None:
    waiver = grant(org.omar, failing_endpoint(org), owner="vic")
    ends = waiver.ends_on
    sent = [waivers.remind(today=ends - dt.timedelta(days=left)) for left in (15, 14, 14, 10, 3, 3, 2, 0, -1)]
    assert sent == [0, 1, 0, 0, 1, 0, 0, 0, 0]
    titles = list(Notification.objects.filter(kind="waiver.ending", person=org.vic).values_list("title", flat=True))
    assert (
        len(titles) == 2 and any("14 days" in title for title in titles) and any("3 days" in title for title in titles)
    )
    waiver.refresh_from_db()
    assert waiver.ends_on == ends


def test_nothing_moves_an_end_date() -> None:
    """No module assigns the end date of a waiver that is there, or updates it."""
    root = Path(inspect.getfile(waivers)).parent.parent
    for path in (*root.glob("waivers/*.py"), root / "waiving.py", root / "findings.py", root / "kinds" / "waiver.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else []
            assert not [one for one in targets if isinstance(one, ast.Attribute) and one.attr == "ends_on"], path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
                assert "ends_on" not in {keyword.arg for keyword in node.keywords}, path


def test_revoke(org: Org) -> None:
    endpoint = failing_endpoint(org)
    findings.sweep()
    waiver = grant(org.omar, endpoint, owner="vic")
    with pytest.raises(Invalid):
        waivers.revoke(lead(), waiver, reason=" ")
    for who in (org.dana, org.vic, org.pat, org.aud):
        with pytest.raises(Forbidden):
            waivers.revoke(org.principal(who), waiver, reason="Enough.")
    assert waivers.revoke(lead(), waiver, reason="The limit was taken away.").state == WaiverState.REVOKED
    assert finding(endpoint).verdict == FAIL
    assert Row.objects.get(action="waivers.revoke").reason == "The limit was taken away."
    with pytest.raises(Conflict) as caught:
        waivers.revoke(lead(), waiver, reason="Again.")
    assert caught.value.code == "waiver_closed"
    assert waivers.expire(today=waiver.ends_on + dt.timedelta(days=1)) == 0
    ask(org.omar, endpoint, owner="vic")  # another one may be asked for now


def test_a_carried_waiver_leaves_an_older_one_alone(org: Org) -> None:
    """A revision is approved with a waiver while the endpoint has one of its own for the same rule."""
    from approvals.waivers import carry

    endpoint = failing_endpoint(org)
    mine = grant(org.omar, endpoint, owner="vic")
    other = Waiver.objects.get(pk=mine.pk)
    other.pk, other.endpoint, other.request = None, None, mine.asked
    other.asked = make_request(org.dana, state="draft")
    other.save()
    assert carry(mine.asked, endpoint) == 0
    mine.refresh_from_db()
    assert mine.endpoint == endpoint


def checks_of(request: Request, by: User) -> dict[str, str]:
    """Verdicts of the rule in a plan of the request as it stands."""
    return {one["id"]: one["verdict"] for one in judging.checks_of_request(request, Principal.of(by))}


def test_a_waiver_of_a_request_counts_for_what_it_asked_for(org: Org, client_for: Any) -> None:
    rule()
    draft = waived_draft(org)
    by, first = Principal.of(org.dana), Waiver.objects.get()
    assert checks_of(draft, org.dana)[RULE] == WAIVED
    draft = requests.change(by, draft, draft.body | {"purpose": "The same, said better.", "context_tokens": 512})
    assert checks_of(draft, org.dana)[RULE] == WAIVED, "the rule looks at neither"
    draft = requests.change(by, draft, draft.body | {"concurrency": 64})
    assert checks_of(draft, org.dana)[RULE] == FAIL, "nobody said yes to this"
    moved = requests.change(by, draft, draft.body | {"concurrency": 8, "environment": "staging"})
    assert checks_of(moved, org.dana)[RULE] == FAIL, "nor to that"
    draft = requests.change(by, moved, moved.body | {"concurrency": 64, "environment": "dev"})
    with pytest.raises(Invalid) as refused:
        requests.submit(by, draft)
    assert RULE in str(refused.value.fields) or "parallel" in str(refused.value.fields)
    page = client_for(org.dana).get(f"/waivers/{first.pk}/").content.decode()
    assert "Request changed" in page and "asks for something else by now" in page

    back = requests.change(by, draft, draft.body | {"concurrency": 8})
    assert checks_of(back, org.dana)[RULE] == WAIVED, "what is changed back is let pass again"
    draft = requests.change(by, back, back.body | {"concurrency": 16})
    second = grant(org.dana, draft)
    first.refresh_from_db()
    assert (first.state, second.state) == (WaiverState.REVOKED, WaiverState.ACTIVE)
    assert Row.objects.filter(action="waivers.outgrow").count() == 1 and checks_of(draft, org.dana)[RULE] == WAIVED


def test_a_waiver_that_was_asked_for_before_a_change_is_not_granted_for_it(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    asked = ask(org.dana, draft)
    requests.change(Principal.of(org.dana), draft, draft.body | {"concurrency": 64})
    with pytest.raises(Conflict) as refused:
        requests.approve(lead(), asked)
    assert refused.value.code == "plan_stale" and not Waiver.objects.exists()
