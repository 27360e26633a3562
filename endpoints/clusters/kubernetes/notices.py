"""What the cluster itself wrote down about an endpoint: its Events, each thing once. Pure functions."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from endpoints.clusters import Notice
from endpoints.clusters.explaining.reading import at, event_time, line, number, objects, text
from endpoints.clusters.kubernetes.state import Object

MOST = 60
WORDS = 400  # characters of one sentence
_AGAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m)?\b")  # times and counters differ with each repetition


def of(events: Iterable[Object], stem: str) -> list[Notice]:
    """Return what events say of the objects whose names begin with `stem`, newest first, at most 60."""
    found: dict[tuple[str, str, str], Notice] = {}
    for event in sorted(objects(tuple(events)), key=event_time):
        title = line(at(event, "involvedObject", "name"), 80)
        if title != stem and not title.startswith(f"{stem}-"):
            continue
        notice = _notice(event, title)
        # Controllers repeat themselves about each pod that they make: that is one thing, told of the newest.
        plain = _AGAIN.sub("", re.sub(rf"{re.escape(stem)}[a-z0-9.-]*", "", notice.sentence))
        key = (str(at(event, "involvedObject", "kind")), notice.reason, plain)
        before = found.pop(key, None)
        found[key] = notice if before is None else replace(notice, count=notice.count + before.count)
    return list(reversed(found.values()))[:MOST]


def _notice(event: Any, title: str) -> Notice:
    when: datetime | None = event_time(event)
    count = number(event.get("count")) or number(at(event, "series", "count")) or 1
    return Notice(
        at=when if when is not None and when.year > 1970 else None,
        reason=line(event.get("reason"), 60) or "Event",
        sentence=line(event.get("message") or event.get("note"), WORDS) or "The cluster gives no reason.",
        about=f"{line(at(event, 'involvedObject', 'kind'), 40) or 'Object'} {title}",
        count=max(count, 1),
        warning=text(event.get("type")) == "Warning",
    )
