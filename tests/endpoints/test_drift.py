"""Content that drifts under an endpoint: people are told once, what runs goes on, nothing new starts."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals import builtin
from audit.models import Row
from catalog.models import Pin, PinState, Version
from endpoints import reconcile as reconciling
from endpoints import revisions, rollouts, services, sweep
from endpoints.drift import tell_drift
from endpoints.models import Endpoint, Event, Phase, Revision
from portal.errors import Conflict
from portal.states import move
from projects.models import Notification
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
SAID = "1 file changed (model.safetensors)."


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A cluster whose engines answer at once."""
    made = Script(replicas=(replica(),))
    for module in (reconciling, sweep):
        monkeypatch.setattr(module, "driver_for", lambda cluster: made)
    return made


@pytest.fixture
def ready(org: Org, script: Script) -> Endpoint:
    """An endpoint of dana's that answers calls."""
    made = open_demo(org.fraud)
    Endpoint.objects.filter(pk=made.pk).update(contact=org.dana)
    assert work(made).phase == Phase.READY
    return made


def version_of(endpoint: Endpoint) -> Version:
    assert endpoint.revision is not None
    return endpoint.revision.version


def drift(endpoint: Endpoint) -> Pin:
    """Let the content of the version drift, as catalog.pinning does."""
    pin, _ = Pin.objects.get_or_create(version=version_of(endpoint))
    if pin.state == PinState.PENDING:
        move(Pin.objects.filter(pk=pin.pk), PinState.PENDING, PinState.RESOLVED, digest="sha256:1")
    move(Pin.objects.filter(pk=pin.pk), PinState.RESOLVED, PinState.DRIFTED, sentence=SAID, drifted_at=timezone.now())
    return pin


def recover(pin: Pin) -> None:
    move(Pin.objects.filter(pk=pin.pk), PinState.DRIFTED, PinState.RESOLVED, sentence="", drifted_at=None)


def told() -> list[str]:
    return sorted(row.person.username for row in Notification.objects.filter(kind="endpoint.drifted"))


def test_contact_and_owners_are_told_once_for_each_drift(org: Org, ready: Endpoint) -> None:
    assert tell_drift() == 0
    pin = drift(ready)
    assert (tell_drift(), tell_drift()) == (1, 0)
    assert told() == ["dana", "omar"]
    event = Event.objects.get(endpoint=ready, code="drifted")
    assert SAID in event.sentence
    row = Row.objects.get(action="endpoints.drift")
    assert (row.object_id, row.project, row.reason) == (str(ready.pk), "fraud-detection", SAID)
    recover(pin)
    assert tell_drift() == 0
    drift(ready)
    assert (tell_drift(), tell_drift(), told()) == (1, 0, ["dana", "dana", "omar", "omar"])


def test_nobody_hears_of_an_endpoint_that_is_gone(org: Org, ready: Endpoint, script: Script) -> None:
    services.delete(Principal.of(org.omar), ready)
    drift(ready)
    assert tell_drift() == 0 and told() == []


def test_what_runs_goes_on_and_nothing_new_is_started(ready: Endpoint, script: Script) -> None:
    """What an engine would load now is not what was approved."""
    pin = drift(ready)
    script.asked.clear()
    assert work(ready).phase == Phase.READY and script.asked == []
    script.replicas = (replica("failed", reason_code="crashed", sentence="It crashed."),)
    failed = work(ready)
    assert (failed.phase, failed.reason_code, failed.reason_turn) == (Phase.FAILED, "version_drifted", "platform")
    assert SAID in failed.reason_sentence and script.asked == []
    recover(pin)
    script.replicas = ()
    failed.refresh_from_db()
    services.retry(Principal.of(failed.created_by or failed.contact), failed)  # type: ignore[arg-type]
    assert work(ready).reason_code != "version_drifted" and script.asked != []


def test_nobody_goes_back_to_a_revision_that_has_drifted(
    org: Org, ready: Endpoint, client_for: Callable[..., Client]
) -> None:
    """Nor is a rollout of it begun: what is asked is the same."""
    drift(ready)
    assert ready.revision is not None
    row = Revision.objects.get(pk=ready.revision.pk)
    assert SAID in revisions.barred(row, timezone.now())
    with pytest.raises(Conflict, match="not what was approved any more") as caught:
        rollouts._may_run(row)
    assert caught.value.code == "version_drifted"
    assert client_for(org.omar).get(f"/endpoints/{ready.pk}/revisions/").status_code == 200


def test_the_page_says_so(org: Org, ready: Endpoint, client_for: Callable[..., Client]) -> None:
    url = f"/endpoints/{ready.pk}/"
    assert "has drifted" not in client_for(org.dana).get(url).content.decode()
    pin = drift(ready)
    text = client_for(org.dana).get(url).content.decode()
    assert "The content of its version" in text and "has drifted" in text and SAID in text
    assert "has drifted" in client_for(org.dana).get(f"{url}status/").content.decode()
    recover(pin)
    assert "has drifted" not in client_for(org.dana).get(url).content.decode()


def test_nobody_asks_for_a_version_that_has_drifted(ready: Endpoint) -> None:
    version = version_of(ready)
    case: Any = type("Case", (), {"version": version})
    assert builtin.only_approved(case).verdict == "pass"
    drift(ready)
    version = Version.objects.get(pk=version.pk)
    case = type("Case", (), {"version": version})
    check = builtin.only_approved(case)
    assert check.verdict == "fail" and SAID in check.reason
    assert builtin.may_go_on(version).verdict == "warn"  # what runs goes on
