"""At the same instant: one waiver, one ending, one approval by rule."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group
from django.db import connection

from approvals import services
from approvals.models import Decision, Request, Verdict, Waiver
from approvals.waivers import services as waivers
from audit.models import Row
from endpoints.models import Endpoint
from portal.errors import GatehouseError
from projects.models import GOVERNANCE_LEADS
from projects.principal import Principal
from tests.approvals.envelopes.kit import DEV, publish, switch
from tests.approvals.waivers.kit import ask, body, failing_draft, grant, rule
from tests.conftest import Org
from tests.factories import lead, make_request

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def together(*works: Callable[[], object]) -> list[str]:
    """Run all of `works` at the same instant; return their codes, "done" for what was not refused."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> str:
        try:
            barrier.wait(timeout=10)
            work()
        except GatehouseError as error:
            return error.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(works)) as pool:
        return sorted(pool.map(run, works))


def test_two_leads_approve_one_waiver(org: Org) -> None:
    rule()
    asked = ask(org.dana, failing_draft(org))
    org.ravi.groups.add(Group.objects.get(name=GOVERNANCE_LEADS))
    people = [Principal.of(user) for user in (org.yasmine, org.ravi)]
    found = together(*(lambda by=by: services.approve(by, Request.objects.get(pk=asked.pk)) for by in people))
    assert found == ["already_decided", "done"]
    assert Waiver.objects.count() == 1 and Row.objects.filter(action="waivers.grant").count() == 1


def test_two_ask_for_the_same_waiver(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    by = Principal.of(org.dana)
    found = together(*(lambda: services.send(by, body(draft)) for _ in range(2)))
    assert found == ["already_asked", "done"]
    assert Request.objects.filter(kind="waiver").count() == 1


def test_it_expires_while_somebody_revokes_it(org: Org) -> None:
    """One of both ends it; neither twice, and no row of the audit log is left for the other."""
    rule()
    waiver = grant(org.dana, failing_draft(org))
    day, by = waiver.ends_on + dt.timedelta(days=1), lead()
    found = together(
        lambda: waivers.expire(today=day), lambda: waivers.expire(today=day),
        lambda: waivers.revoke(by, Waiver.objects.get(pk=waiver.pk), reason="It is mended."),
    )  # fmt: skip
    assert set(found) <= {"done", "waiver_closed"}
    assert Row.objects.filter(action__in=("waivers.expire", "waivers.revoke"), object_id=str(waiver.pk)).count() == 1


def test_a_draft_that_is_sent_twice_is_approved_by_rule_once(org: Org) -> None:
    publish(DEV)
    switch("live")
    draft, by = make_request(org.dana, state="draft"), Principal.of(org.dana)
    found = together(*(lambda: services.submit(by, Request.objects.get(pk=draft.pk)) for _ in range(2)))
    assert found == ["conflict", "done"]
    assert (Verdict.objects.count(), Decision.objects.count(), Endpoint.objects.count()) == (1, 1, 1)
