"""Reading objects of a cluster that may be odd: every function here accepts anything that JSON can hold and never
raises. What is missing or of another type reads as empty."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

LONGEST = 4000  # characters of a message that are looked at
_COLOUR = re.compile(r"\x1b\[[0-9;?]{0,8}[A-Za-z]")
# What an engine prints may hold what it was given: tokens never reach a page, a row or a notification.
_SECRET = re.compile(
    r"\b(?:hf|gth|ghp|gho|glpat|sk|xox[abp])[_-][A-Za-z0-9_-]{8,}|(?<=://)[^/\s:@]{1,80}:[^/\s@]{1,200}(?=@)"
    r"|\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\b(?:password|passwd|secret|token|api[_-]?key|x-amz-signature|sig)=[^\s&,;\"']{1,300}"
    r"|\bey[A-Za-z0-9_-]{8,400}\.[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{4,600}",
    re.IGNORECASE,
)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` when it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the objects of a list, without what is none."""
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, list | tuple) else ()


def at(value: Any, *path: str) -> Any:
    """Return what stands at `path` in nested objects, or None."""
    for key in path:
        value = mapping(value).get(key)
    return value


def text(value: Any) -> str:
    """Return a string as it may be shown and stored: no control characters, no half characters, no secrets."""
    if not isinstance(value, str):
        return ""
    plain = _COLOUR.sub(" ", value[:LONGEST])
    plain = "".join(one if one == "\n" or one.isprintable() else " " for one in plain)  # nor halves of characters
    return _SECRET.sub("…", plain).strip()


def masked(words: str) -> str:
    """Return the output of an engine as it may be read: line by line, without control characters and secrets."""
    lines = (_COLOUR.sub("", one) for one in words.split("\n"))
    plain = ("".join(sign if sign == "\t" or sign.isprintable() else "" for sign in one) for one in lines)
    return "\n".join(_SECRET.sub("…", one) for one in plain)


def line(value: Any, limit: int = 160) -> str:
    """Return a string on one line of at most `limit` characters."""
    return clip(" ".join(text(value).split()), limit)


def last_line(value: Any, limit: int = 160) -> str:
    """Return the last line that says something: the last with an error in it, else the last."""
    lines = [one.strip() for one in text(value).splitlines() if one.strip()]
    telling = [one for one in lines[-40:] if re.search(r"error|exception|fatal|cannot|failed", one, re.IGNORECASE)]
    return line((telling or lines or [""])[-1], limit)


def clip(words: str, limit: int) -> str:
    """Return `words`, shortened to `limit` characters with an ellipsis."""
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def number(value: Any) -> int | None:
    """Return a whole number, also from a string of digits; None for everything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 10**15 else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value, re.ASCII) else None


def moment(value: Any) -> datetime | None:
    """Return a time of the API (RFC 3339), with its zone; None when it is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:  # out of the calendar in UTC: no database keeps it
        return None


def since(value: Any, now: datetime) -> timedelta | None:
    """Return the time that passed until `now`, at least nothing: clocks differ."""
    then = moment(value)
    return max(now - then, timedelta()) if then is not None else None


def duration(span: timedelta) -> str:
    """Return a span in words a person reads: `40 s`, `12 min`, `3 h 20 min`."""
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} days"


def name(thing: Any) -> str:
    """Return the name of an object."""
    return line(at(thing, "metadata", "name"), 80)


def condition(thing: Any, kind: str) -> Mapping[str, Any]:
    """Return the condition of this type from `status.conditions`, or an empty one."""
    found = [one for one in objects(at(thing, "status", "conditions")) if one.get("type") == kind]
    return found[-1] if found else {}


def is_true(thing: Any, kind: str) -> bool:
    """Whether a condition is there and true."""
    return condition(thing, kind).get("status") == "True"


def is_false(thing: Any, kind: str) -> bool:
    """Whether a condition is there and false; an unknown one is neither."""
    return condition(thing, kind).get("status") == "False"


def events_of(events: Any, kind: str, title: str, *reasons: str) -> Iterator[Mapping[str, Any]]:
    """Yield the events about one object, the newest first; of any reason when none is given."""
    chosen = [
        one
        for one in objects(events)
        if at(one, "involvedObject", "kind") == kind
        and title
        and at(one, "involvedObject", "name") == title
        and (not reasons or one.get("reason") in reasons)
    ]
    yield from sorted(chosen, key=event_time, reverse=True)


def event_time(event: Any) -> datetime:
    """Return when an event happened last; both API groups write it elsewhere, and some write nothing."""
    places = (
        at(event, "series", "lastObservedTime"), at(event, "lastTimestamp"), at(event, "eventTime"),
        at(event, "firstTimestamp"), at(event, "metadata", "creationTimestamp"),
    )  # fmt: skip
    return next((found for found in map(moment, places) if found), datetime.min.replace(tzinfo=UTC))
