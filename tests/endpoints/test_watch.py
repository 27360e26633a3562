"""The watch of one kind: list, follow, resume, list again, and what counts as a change."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes import kinds, owned, watch
from endpoints.clusters.kubernetes.watch import KindFeed, mark
from tests.endpoints.watch_kit import GONE, Heard, WatchServer, new_id, pod, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WatchServer]:
    with WatchServer(tmp_path) as running:
        yield running


class Following:
    """A feed followed in a thread, once."""

    def __init__(self, server: WatchServer, feed: KindFeed | None = None) -> None:
        self.feed = feed or KindFeed(server.place(), kinds.POD, owned.selector(server.place()))
        self.heard, self.error = Heard(), list[BaseException]()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.feed.follow(self.heard)
        except BaseException as error:
            self.error.append(error)

    def ended(self) -> "Following":
        self.thread.join(15)
        assert not self.thread.is_alive()
        return self

    def again(self, server: WatchServer) -> "Following":
        """Go on with the same feed."""
        return Following(server, self.feed)


@pytest.fixture
def following(server: WatchServer) -> Iterator[Following]:
    made = Following(server)
    wait_for(server.streams, "the stream")
    yield made
    made.feed.close()
    made.ended()


def test_it_lists_in_pages_and_follows_from_there(server: WatchServer) -> None:
    server.page = 2
    ids = [new_id() for _ in range(5)]
    for one in ids:
        server.put(pod(one))
    following = Following(server)
    wait_for(server.streams, "the stream")
    (found,) = following.heard.lists
    assert {one.endpoint for one in found.values()} == set(ids) and len(server.lists()) == 3
    (call,) = server.watches()
    assert call.query["resourceVersion"] == str(server.version) and call.query["allowWatchBookmarks"] == "true"
    assert 60 <= int(call.query["timeoutSeconds"]) <= 600 and "labelSelector" in call.query
    assert owned.MANAGED_BY in call.query["labelSelector"]
    server.put(pod(ids[0], ready=True))
    wait_for(lambda: following.heard.changes, "the change")
    server.remove(pod(ids[0]))
    wait_for(lambda: len(following.heard.changes) == 2, "the end")
    assert following.heard.changes[1] == (f"{ids[0]}-one", None)
    following.feed.close()
    assert not following.ended().error


def test_after_an_end_in_order_it_resumes_where_it_was(server: WatchServer, following: Following) -> None:
    one = new_id()
    server.put(pod(one))
    wait_for(lambda: following.heard.changes, "the change")
    seen = server.version
    server.end()
    assert not following.ended().error
    server.put(pod(one, ready=True))  # while nobody watches
    again = following.again(server)
    wait_for(lambda: again.heard.changes, "what happened meanwhile")
    assert len(server.lists()) == 1 and server.watches()[1].query["resourceVersion"] == str(seen)
    assert [key for key, _ in again.heard.changes] == [f"{one}-one"]


def test_a_bookmark_is_a_sign_and_where_to_go_on(server: WatchServer, following: Following) -> None:
    before = following.heard.signs
    server.put({**pod(new_id()), "kind": "Event"}, "events")  # the server goes on, this kind does not
    server.bookmark()
    wait_for(lambda: following.heard.signs > before, "the sign")
    server.end()
    following.ended().again(server)
    wait_for(lambda: len(server.watches()) == 2, "the next watch")
    assert server.watches()[1].query["resourceVersion"] == str(server.version) and not following.heard.changes


@pytest.mark.parametrize("how", ["event", "status"])
def test_after_410_it_lists_again(server: WatchServer, following: Following, how: str) -> None:
    kept, lost = new_id(), new_id()
    server.put(pod(lost))
    wait_for(lambda: following.heard.changes, "the change")
    server.end()
    following.ended()
    server.remove(pod(lost))
    server.put(pod(kept))
    if how == "event":
        server.forget()
    else:
        server.answers.append((410, {}, GONE))
    gone = following.again(server).ended()
    assert not gone.error and not gone.heard.changes, "being behind is no failure"
    again = gone.again(server)
    wait_for(server.streams, "the stream")
    assert [{one.endpoint for one in found.values()} for found in again.heard.lists] == [{kept}]
    assert server.watches()[-1].query["resourceVersion"] == str(server.version)


@pytest.mark.parametrize(
    "data",
    [b'{"type": "MODIFIED", "obj', b"BREAK", b"<html>\n", b"[]\n", b'{"type": "MODIFIED"}\n', b"{" * 3000 + b"\n"],
)
def test_a_broken_stream_is_a_failure_and_loses_nothing(server: WatchServer, following: Following, data: bytes) -> None:
    one = new_id()
    server.put(pod(one))
    wait_for(lambda: following.heard.changes, "the change")
    seen = server.version
    server.say(data)
    server.end()
    (error,) = following.ended().error
    assert isinstance(error, ClusterError) and error.retry
    server.put(pod(one, ready=True))
    again = following.again(server)
    wait_for(lambda: again.heard.changes, "what happened meanwhile")
    assert server.watches()[-1].query["resourceVersion"] == str(seen) and len(server.lists()) == 1


def test_429_is_told_with_its_time(server: WatchServer) -> None:
    server.answers.append((429, {"Retry-After": "7"}, {"kind": "Status", "reason": "TooManyRequests", "code": 429}))
    (error,) = Following(server).ended().error
    assert isinstance(error, ClusterError) and error.code == "slow_down" and error.wait_seconds == 7


def test_an_error_in_the_stream_is_told(server: WatchServer, following: Following) -> None:
    status = b'{"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd leader changed"}'
    server.say(b'{"type": "ERROR", "object": ' + status + b"}\n")
    (error,) = following.ended().error
    assert isinstance(error, ClusterError)


def test_silence_ends_a_stream(server: WatchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.2)
    begun = time.monotonic()
    assert not Following(server).ended().error
    assert time.monotonic() - begun < 5


def test_a_line_without_end_is_refused(
    server: WatchServer, following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_LINE", 1000)
    server.say(b"x" * 2000)
    (error,) = following.ended().error
    assert isinstance(error, ClusterError) and error.code == "answer_too_large"


def test_closing_ends_a_stream_that_says_nothing(server: WatchServer, following: Following) -> None:
    begun = time.monotonic()
    following.feed.close()
    assert not following.ended().error and time.monotonic() - begun < 5
    following.feed.follow(following.heard)
    assert len(server.watches()) == 1, "it stays closed"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (pod("e", ready=True), False),
        (pod("e", podIP="10.0.0.1"), False),
        (pod("e", containerStatuses=[{"name": "engine", "restartCount": 1}]), False),
        (pod("e", startTime="2026-11-29T10:00:00Z", message="back-off 20s"), True),
        (pod("e", name="two"), True),
    ],
)
def test_only_what_matters_for_an_endpoint_is_a_change(other: dict[str, Any], same: bool) -> None:
    assert (mark(other) == mark(pod("e"))) is same


def test_metadata_that_matters() -> None:
    one = pod("e")
    for name, value in [("deletionTimestamp", "x"), ("generation", 2), ("annotations", {owned.APPLIED: "{}"})]:
        assert mark({**one, "metadata": {**one["metadata"], name: value}}) != mark(one)
    noise = {"annotations": {"deployment.kubernetes.io/revision": "3"}, "managedFields": [1], "resourceVersion": "7"}
    assert mark({**one, "metadata": {**one["metadata"], **noise}}) == mark(one)
