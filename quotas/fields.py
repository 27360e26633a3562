"""The controls of the usage page: ranges, filters, dates."""

import datetime as dt
from collections.abc import Iterable, Sequence

from projects.principal import Principal
from quotas import period, report, usage
from quotas.asked import FILTERS, LABELS, Asked
from quotas.usage import GROUPS, Wanted

MOST = 200  # choices of one filter; the address takes every other one too
ALL = {"project": "All projects", "endpoint": "All endpoints", "key": "All keys", "person": "All people"}


def ranges(asked: Asked, now: dt.datetime) -> list[dict[str, object]]:
    """Return the switch of ranges; the month is called by its name."""
    current = "custom" if asked.error else asked.span.name
    return [
        {"label": LABELS.get(name, f"{now:%B}"), "url": asked.ranged(name), "current": name == current}
        for name in period.RANGES
    ]


def filters(principal: Principal, asked: Asked, projects: Sequence[str]) -> list[dict[str, object]]:
    """Return the selects: what to group by, and a filter for each of it (two queries)."""
    span = asked.span
    wanted = Wanted(span.start, span.end, span.hours, project=asked.values["project"])
    rows = usage.selection(principal, wanted).order_by()
    endpoints = _distinct(rows.values_list("endpoint", flat=True).distinct()[:MOST])
    people = _distinct(rows.values_list("person", flat=True).distinct()[:MOST])
    keys = dict(rows.values_list("key_id", "key").distinct()[: 10 * MOST])
    choices = {
        "project": [(slug, slug) for slug in projects[:MOST]],
        "endpoint": [(name, name) for name in endpoints],
        "key": _keys(keys),
        "person": [(name, name) for name in people],
    }
    found = [_select("group_by", "Group by", asked.group, [(name, name.capitalize(), False) for name in GROUPS])]
    for name in FILTERS:
        value = asked.values[name]
        listed = choices[name]
        if value and value not in [one for one, _ in listed]:
            listed.append((value, value))
        options = [("", ALL[name], False), *((one, label, False) for one, label in listed)]
        found.append(_select(name, name.capitalize(), value, options))
    return found


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))


def _keys(ids: dict[str, str]) -> list[tuple[str, str]]:
    """Return prefix and words of the keys; those of the playground live for minutes and are nobody's choice."""
    facts = report.key_facts(ids)
    found = {}
    for identifier, prefix in ids.items():
        fact = facts.get(identifier)
        if fact is None or fact.purpose != report.PLAYGROUND:
            found[prefix] = f"{fact.name} ({prefix})" if fact else prefix
    return sorted(found.items())[:MOST]


def _select(name: str, label: str, value: str, choices: Sequence[tuple[str, str, bool]]) -> dict[str, object]:
    return {
        "name": name,
        "label": label,
        "kind": "select",
        "value": value,
        "choices": choices,
        "attrs": {"data-autosubmit": True},
    }


def dates(asked: Asked) -> list[dict[str, object]]:
    """Return the two fields of a custom range in the person's zone, with what was typed where that is wrong."""
    if not custom(asked):
        return []
    span, errors = asked.span, asked.error.fields if asked.error else {}
    shown = {"from": span.typed(span.start), "to": span.typed(span.end)}
    return [
        {
            "name": name,
            "label": f"{name.capitalize()} ({span.shown.key})",
            "kind": "datetime-local",
            "value": asked.values[name] if errors else shown[name],
            "error": errors.get(name, ""),
        }
        for name in ("from", "to")
    ]


def custom(asked: Asked) -> bool:
    """Whether a custom range is asked for, even a wrong one."""
    return "custom" in (asked.values["range"], asked.span.name)


def hidden(asked: Asked) -> list[tuple[str, str]]:
    """Return what the form of the filters carries on."""
    back = asked.back if custom(asked) else ""
    found = {"range": "custom" if custom(asked) else asked.span.name, "sort": asked.sort, "back": back}
    return [(name, value) for name, value in found.items() if value]
