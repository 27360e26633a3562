"""What the cluster says, the log of each replica, and the steps of a start, on the pages of an endpoint."""

import datetime as dt
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from endpoints.clusters import ClusterError, Notice
from endpoints.models import Authentication, Cluster, Endpoint, Event, Phase
from tests.conftest import ApiClient, Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[Any], Client]
AWAY = ClusterError(
    "cluster_unreachable", "The cluster cannot be reached. It is tried again.", next="It is tried again."
)
FORBIDDEN = ClusterError("permission_missing", "The portal may not list events.", next="Apply the manifest again.")


@dataclass
class Speaker:
    """A driver that says what the test wants, and remembers what it was asked for."""

    said: list[Notice] = field(default_factory=list)
    error: ClusterError | None = None
    text: str = "a line of log"
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def notices(self, endpoint_id: str) -> list[Notice]:
        """What the cluster says."""
        self.asked.append(("notices",))
        if self.error:
            raise self.error
        return self.said

    def logs(self, endpoint_id: str, lines: int = 200, *, replica: int | None = None, previous: bool = False) -> str:
        """The log."""
        self.asked.append((lines, replica, previous))
        if self.error:
            raise self.error
        return self.text


@pytest.fixture
def endpoint(org: Org, state_dir: Any) -> Endpoint:
    made = open_demo(org.fraud, replicas=2)
    Cluster.objects.filter(pk=made.cluster_id).update(authentication=Authentication.TOKEN)
    return Endpoint.objects.select_related("cluster", "revision").get(pk=made.pk)


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Speaker:
    found = Speaker()
    for module in ("views.history", "engine_logs"):
        monkeypatch.setattr(f"endpoints.{module}.driver_for", lambda cluster: found)
    return found


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


# --- What the cluster says
# -------------------------------------------------------------------------------------------------------------------


def test_the_page_of_events_never_waits_for_the_cluster(
    org: Org, client_for: Clients, endpoint: Endpoint, speaker: Speaker
) -> None:
    page = client_for(org.dana).get(reverse("endpoint_events", args=[endpoint.pk])).content.decode()
    address = reverse("endpoint_notices", args=[endpoint.pk])
    assert speaker.asked == [] and f'hx-get="{address}" hx-trigger="load"' in page and f'href="{address}"' in page


def test_its_words_stand_there_with_count_and_object_and_are_escaped(
    org: Org, client_for: Clients, endpoint: Endpoint, speaker: Speaker
) -> None:
    speaker.said = [
        Notice(timezone.now(), "FailedCreate", "<script>quota</script>", "ReplicaSet ep-1-r1", 3, warning=True),
        Notice(None, "Pulled", "It is there.", "Pod ep-1-r1-x"),
    ]
    client, address = client_for(org.vic), reverse("endpoint_notices", args=[endpoint.pk])
    page = client.get(address).content.decode()
    assert "<script>quota" not in page
    assert "<script>quota</script> FailedCreate · ReplicaSet ep-1-r1 · 3 times" in words(page)
    assert "It is there. Pulled · Pod ep-1-r1-x" in words(page)
    part = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.strip().startswith('<div id="notice-lines"') and "every 15s" in part, "something moves"
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, reason_turn="nobody", due_at=None)
    assert "hx-trigger" not in client.get(address, headers={"HX-Request": "true"}).content.decode()


@pytest.mark.parametrize(
    ("error", "title"),
    [(AWAY, "The cluster cannot be asked now."), (FORBIDDEN, "The cluster does not let the portal read its record.")],
)
def test_a_cluster_that_is_away_or_forbids_it_gives_a_sentence(
    org: Org, client_for: Clients, endpoint: Endpoint, speaker: Speaker, error: ClusterError, title: str
) -> None:
    speaker.error = error
    answer = client_for(org.dana).get(reverse("endpoint_notices", args=[endpoint.pk]))
    page = words(answer.content.decode())
    assert answer.status_code == 200 and title in page and error.sentence in page
    assert f'href="/help/troubleshooting-clusters/#{error.code}"' in answer.content.decode()


def test_silence_and_a_machine_without_a_record_are_told_apart(
    org: Org, client_for: Clients, endpoint: Endpoint, speaker: Speaker
) -> None:
    client, address = client_for(org.dana), reverse("endpoint_notices", args=[endpoint.pk])
    assert "The cluster says nothing" in client.get(address).content.decode()
    Cluster.objects.update(authentication="")
    assert "No record beside the portal" in client.get(address).content.decode()
    assert address not in client.get(reverse("endpoint_events", args=[endpoint.pk])).content.decode()


# --- Logs
# -------------------------------------------------------------------------------------------------------------------


def test_one_replica_and_the_run_before_can_be_read(
    org: Org, client_for: Clients, endpoint: Endpoint, speaker: Speaker
) -> None:
    client, address = client_for(org.dana), reverse("endpoint_logs", args=[endpoint.pk])
    page = client.get(address).content.decode()
    assert "All replicas" in page and "Replica 1" in page and "Replica 2" not in page and "The run before" in page
    page = client.get(address, {"replica": "1", "previous": "on", "lines": "50"}).content.decode()
    assert 'value="1" selected' in page and "download=1&amp;replica=1&amp;previous=on" in page
    assert 'id="id_follow"' not in page, "what is over is not followed"
    for odd in ("7", "x", "-1", "1.5"):
        assert client.get(address, {"replica": odd, "previous": "maybe"}).status_code == 200
    client.get(address, {"download": "1", "replica": "1"})
    assert speaker.asked[:2] == [(200, None, False), (50, 1, True)] and speaker.asked[-1] == (5000, 1, False)
    assert set(speaker.asked[2:-1]) == {(200, None, False)}
    speaker.text = ""
    assert "No earlier run" in client.get(address, {"previous": "on"}).content.decode()


@pytest.mark.parametrize("error", [AWAY, FORBIDDEN])
def test_a_log_that_cannot_be_read_is_a_sentence(
    org: Org, client_for: Clients, api_for: Callable[..., ApiClient], endpoint: Endpoint, speaker: Speaker,
    error: ClusterError,
) -> None:  # fmt: skip
    speaker.error = error
    for query in ({}, {"download": "1"}, {"follow": "on"}):
        answer = client_for(org.dana).get(reverse("endpoint_logs", args=[endpoint.pk]), query)
        assert answer.status_code == 200 and error.sentence in words(answer.content.decode())
    refused = api_for(org.dana).get(f"/endpoints/{endpoint.pk}/logs")
    assert refused.status_code == 503 and refused.json()["code"] == error.code


def test_secrets_and_control_characters_never_leave_the_log(
    org: Org, client_for: Clients, api_for: Callable[..., ApiClient], endpoint: Endpoint, speaker: Speaker
) -> None:
    speaker.text = (
        "loading with token=hf_abcdefghijklmnop\n    indented \x1b[31mred\x1b[0m\x00\n"
        "Authorization: Bearer abcdefghijklmnop.qrst\nhttps://user:hunter2pass@hub/x\nplain"
    )
    page = client_for(org.dana).get(reverse("endpoint_logs", args=[endpoint.pk])).content.decode()
    items = api_for(org.dana).get(f"/endpoints/{endpoint.pk}/logs?replica=0").json()["items"]
    for secret in ("hf_abcdefgh", "Bearer abcd", "hunter2pass", "\x1b", "\x00"):
        assert secret not in page and not any(secret in line for line in items), secret
    assert items[1] == "    indented red" and items[-1] == "plain" and len(items) == 5


# --- Steps
# -------------------------------------------------------------------------------------------------------------------


def stage(name: str, started: dt.datetime | None, ended: dt.datetime | None) -> dict[str, Any]:
    begin, end = (one.isoformat() if one else None for one in (started, ended))
    return {"name": name, "started": begin, "ended": end}


def started(endpoint: Endpoint, *, loaded: bool = False, **fields: Any) -> dt.datetime:
    """Write down a start of ten minutes ago: 6 s to a node, 2 min of pulling, then loading."""
    begun = timezone.now() - dt.timedelta(minutes=10)
    Event.objects.filter(endpoint=endpoint).update(at=begun)
    marks = [begun + dt.timedelta(seconds=seconds) for seconds in (1, 7, 127, 427)]
    steps = [stage("Created", begun, marks[0]), stage("Scheduled", marks[0], marks[1])]
    steps += [stage("Pulling", marks[1], marks[2]), stage("Loading", marks[2], marks[3] if loaded else None)]
    steps.append(stage("Ready", marks[3] if loaded else None, marks[3] if loaded else None))
    Endpoint.objects.filter(pk=endpoint.pk).update(progress={"1": steps}, **fields)
    return begun


def stepper(client: Client, endpoint: Endpoint) -> str:
    page = client.get(reverse("endpoint_detail", args=[endpoint.pk])).content.decode()
    return words(page.split('<ol class="pf-v6-c-progress-stepper')[1].split("</ol>")[0])


def test_the_steps_of_the_cluster_have_their_durations(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    started(endpoint, phase=Phase.PROVISIONING, reason_code="loading")
    found = stepper(client_for(org.dana), endpoint)
    assert "Scheduled , done 6 s Pulling , done 2 min Loading , now for 7 min" in found and "since" in found
    assert found.endswith("Ready , not yet")


def test_a_start_that_broke_shows_where(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    begun = started(endpoint, phase=Phase.FAILED, reason_code="gpu_out_of_memory", reason_turn="owner")
    Endpoint.objects.filter(pk=endpoint.pk).update(phase_since=begun + dt.timedelta(seconds=148))
    assert "Loading , failed stopped after 21 s Ready , not yet" in stepper(client_for(org.dana), endpoint)


def test_a_ready_one_keeps_the_story_of_its_start_and_the_api_tells_it(
    org: Org, client_for: Clients, api_for: Callable[..., ApiClient], endpoint: Endpoint
) -> None:
    begun = started(endpoint, loaded=True, phase=Phase.READY, reason_code="ready", reason_turn="nobody")
    found = stepper(client_for(org.dana), endpoint)
    assert "Loading , done 5 min" in found and "not yet" not in found and "now" not in found
    told = api_for(org.dana).get(f"/endpoints/{endpoint.pk}").json()["progress"]
    assert [one["name"] for one in told] == ["Created", "Scheduled", "Pulling", "Loading", "Ready"]
    assert dt.datetime.fromisoformat(told[0]["started_at"]) == begun


def test_what_waits_for_its_turn_shows_no_steps_of_an_earlier_start(
    org: Org, client_for: Clients, endpoint: Endpoint
) -> None:
    started(endpoint, phase=Phase.PENDING, reason_code="retried")
    assert "Pulling" not in stepper(client_for(org.dana), endpoint)


def test_the_live_part_costs_no_more_queries_for_its_parts(org: Org, client_for: Clients, endpoint: Endpoint) -> None:
    started(endpoint, phase=Phase.PROVISIONING, reason_code="gpu_quota_exceeded", reason_turn="owner", reason_next="x")
    client = client_for(org.dana)
    for name in ("endpoint_detail", "endpoint_status", "endpoint_events"):
        with CaptureQueriesContext(connection) as seen:
            client.get(reverse(name, args=[endpoint.pk]))
        assert len(seen) <= 15, name
