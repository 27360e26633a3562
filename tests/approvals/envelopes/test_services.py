"""Switching on and off, and the later review."""

import pytest

from approvals.envelopes import services
from approvals.models import EnvelopeMode, Mode, Reading, Request, RequestState, Verdict
from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.models import Notification
from tests.approvals.envelopes.kit import DEV, digest_of, publish, switch
from tests.conftest import Org
from tests.factories import engineer, lead, make_request

pytestmark = pytest.mark.slow


def approved(org: Org) -> Verdict:
    """What a live rule approved, to be read later."""
    publish(DEV)
    switch("live", percent=100)
    made: Request = make_request(org.dana)
    return Verdict.objects.select_related("request__project").get(request=made)


def test_only_governance_switches_on(org: Org) -> None:
    publish(DEV)
    for who in (org.pat, org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            services.set_mode(org.principal(who), "auto-dev", "live", reason="Please.")
    row = services.set_mode(lead(), "auto-dev", "live", reason="Agreed for four weeks.", sample_percent=25)
    assert (row.mode, row.digest, row.sample_percent) == (Mode.LIVE, digest_of(), 25)
    written = Row.objects.get(action="envelopes.set_mode")
    assert '"mode":"shadow"' in written.before and '"mode":"live"' in written.after
    assert written.reason == "Agreed for four weeks."
    assert set(Notification.objects.filter(kind="envelope.switched_on").values_list("person__username", flat=True)) == {
        "pat", "ravi",
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_who_runs_the_platform_stops_it_without_a_reason(org: Org, mode: str) -> None:
    publish(DEV)
    switch("live")
    for who in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            services.set_mode(org.principal(who), "auto-dev", mode, reason="")
    services.set_mode(engineer(), "auto-dev", mode, reason="")
    assert make_request(org.dana).state == RequestState.SUBMITTED


def test_all_are_switched_off_at_once(org: Org) -> None:
    publish(DEV, DEV | {"id": "auto-all", "when": "true"}, DEV | {"id": "auto-quiet"})
    switch("live")
    switch("live", "auto-all")
    with pytest.raises(Forbidden):
        services.switch_all_off(org.principal(org.dana))
    assert services.switch_all_off(engineer(), reason="An incident.") == ["auto-dev", "auto-all"]
    assert set(EnvelopeMode.objects.values_list("mode", flat=True)) == {Mode.OFF}
    assert Row.objects.filter(action="envelopes.switch_all_off", reason="An incident.").count() == 2
    assert make_request(org.dana).state == RequestState.SUBMITTED
    assert services.switch_all_off(engineer()) == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"mode": "on"}, Invalid),
        ({"reason": " "}, Invalid),
        ({"reason": "x" * 2001}, Invalid),
        ({"sample_percent": 101}, Invalid),
        ({"sample_percent": -1}, Invalid),
        ({"rule": "no-such"}, NotFound),
        ({"rule": "x" * 5000}, NotFound),
        ({"seen": "sha256:of-another-text"}, Conflict),
    ],
)
def test_what_is_refused_changes_nothing(org: Org, fields: dict[str, object], error: type[Exception]) -> None:
    publish(DEV)
    asked = {"rule": "auto-dev", "mode": "live", "reason": "For a test.", "sample_percent": 5, "seen": ""} | fields
    with pytest.raises(error):
        services.set_mode(lead(), **asked)  # type: ignore[arg-type]
    assert not EnvelopeMode.objects.exists() and not Row.objects.filter(action="envelopes.set_mode").exists()


def test_a_person_confirms(org: Org) -> None:
    verdict = services.confirm(engineer(), approved(org))
    assert (verdict.reading, verdict.read_by) == (Reading.CONFIRMED, org.pat)
    assert Row.objects.filter(action="envelopes.confirm", object_id=str(verdict.request_id)).exists()
    with pytest.raises(Conflict) as caught:
        services.object_to(engineer(), verdict, remark="No, wait.")
    assert caught.value.code == "already_read"


def test_an_objection_is_told_and_stops_nothing_by_itself(org: Org) -> None:
    verdict = approved(org)
    with pytest.raises(Invalid):
        services.object_to(engineer(), verdict, remark=" ")
    services.object_to(engineer(), verdict, remark="Too large for dev.")
    assert verdict.remark == "Too large for dev."
    told = Notification.objects.get(kind="envelope.objected")
    assert told.person == org.yasmine and told.url == "/approvals/rules/auto-dev/"
    verdict.request.refresh_from_db()
    assert verdict.request.state == RequestState.APPROVED
    assert EnvelopeMode.objects.get().mode == Mode.LIVE


def test_nobody_reads_an_own_request_and_nobody_without_the_role(org: Org) -> None:
    publish(DEV)
    switch("live", percent=100)
    org.pat.memberships.create(project=org.fraud, role="developer")
    made = make_request(org.pat)
    verdict = Verdict.objects.select_related("request__project").get(request=made)
    with pytest.raises(Forbidden) as caught:
        services.confirm(org.principal(org.pat), verdict)
    assert caught.value.code == "own_request"
    for who in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            services.confirm(org.principal(who), verdict)
    with pytest.raises(NotFound):
        services.confirm(org.principal(org.cy), verdict)
    assert services.confirm(org.principal(org.ravi), verdict).reading == Reading.CONFIRMED
