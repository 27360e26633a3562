"""The form of a project's quotas: a line per target and window, an empty one to add another."""

from collections.abc import Mapping, Sequence
from typing import Any

from portal.errors import GatehouseError
from portal.http import FormProblem, typed_number
from projects.models import ApiKey

MOST_LINES = 100  # beyond that the API is the better tool
WINDOWS = (("day", "per day", False), ("month", "per month", False))
PROJECT_LINES = (("project:", "day"), ("project:", "month"))


def problem_of(error: GatehouseError, places: Sequence[int], typed: Mapping[str, str]) -> FormProblem:
    """Return `error` with its fields named as in the form; `places` are the lines of the document's entries."""
    fields = {}
    for name, message in error.fields.items():
        part, _, rest = name.partition(".")
        number, _, column = rest.partition(".")
        if part == "tokens" and number.isdigit() and int(number) < len(places):
            line = f"{'hard' if column not in {'soft', 'hard', 'target'} else column}-{places[int(number)]}"
            fields[line] = message
        else:
            fields["gpus" if part == "gpus" else ""] = message
    return FormProblem(error.status, error.sentence, fields, typed)


def posted(data: Mapping[str, str]) -> tuple[dict[str, Any], list[int]]:
    """Return the document that the form asks for, and the line of each of its entries. Lines without numbers go."""
    tokens, places = [], []
    for line in range(MOST_LINES + 1):
        target = data.get(f"target-{line}")
        soft, hard = typed_number(data.get(f"soft-{line}", "")), typed_number(data.get(f"hard-{line}", ""))
        if target is None or (soft is None and hard is None):
            continue
        kind, _, name = target.partition(":")
        window = data.get(f"window-{line}", "")
        tokens.append({"target": kind, "name": name, "window": window, "soft": soft, "hard": hard})
        places.append(line)
    body: dict[str, Any] = {"tokens": tokens}
    if "gpus" in data:
        body["gpus"] = {"limit": typed_number(data["gpus"])}
    return body, places


def form(
    now: Mapping[str, Any],
    endpoints: Sequence[str],
    keys: Sequence[ApiKey],
    *,
    grants: bool,
    problem: FormProblem | None,
) -> dict[str, Any]:
    """Return the lines and fields of the form. `grants`: may change what the platform grants to the whole project."""
    held = {(f"{entry['target']}:{entry['name']}", entry["window"]): entry for entry in now["tokens"]}
    order = [*PROJECT_LINES, *(place for place in held if place not in PROJECT_LINES)]
    labels = {key.prefix: key.name for key in keys}
    typed, errors = (problem.typed, problem.fields) if problem else ({}, {})
    lines = [
        _line(index, place, held.get(place, {}), labels, grants=grants, typed=typed, errors=errors)
        for index, place in enumerate(order[:MOST_LINES])
    ]
    gpus = now["gpus"]["limit"]
    return {
        "errors": problem.errors(lambda _: "Go to the field") if problem else [],
        "too_many": len(order) > MOST_LINES,
        "gpus": {
            "name": "gpus", "label": "GPUs", "kind": "number", "value": typed.get("gpus", gpus),
            "error": errors.get("gpus", ""), "help": "Empty: as many as the pools have.",
            "attrs": {"min": 0, "max": 100_000},
        }
        if grants
        else None,
        "lines": lines,
        "add": _add(len(lines), endpoints, keys, typed, errors),
    }  # fmt: skip


def _line(
    index: int,
    place: tuple[str, str],
    entry: Mapping[str, Any],
    labels: Mapping[str, str],
    *,
    grants: bool,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
) -> dict[str, Any]:
    kind, _, name = place[0].partition(":")
    who = {"project": "The project", "endpoint": f"Endpoint {name}"}.get(kind, f"Key {labels.get(name, '')} ({name})")
    when = {value: label for value, label, _ in WINDOWS}[place[1]]
    frozen = kind == "project" and not grants
    hard = _number(f"hard-{index}", "Refuses at", entry.get("hard"), typed, errors)
    if frozen:
        value = "" if entry.get("hard") is None else f"{entry['hard']:,}"  # whatever was typed: it stays
        hard |= {"attrs": {"readonly": True}, "help": "A platform engineer changes this.", "value": value}
    return {
        "label": f"{who}, {when}",
        "hidden": [{"name": f"target-{index}", "kind": "hidden", "value": place[0]},
                   {"name": f"window-{index}", "kind": "hidden", "value": place[1]}],
        "fields": [_number(f"soft-{index}", "Warns at", entry.get("soft"), typed, errors), hard],
    }  # fmt: skip


def _number(
    name: str, label: str, value: int | None, typed: Mapping[str, str], errors: Mapping[str, str]
) -> dict[str, Any]:
    shown = typed.get(name, "" if value is None else f"{value:,}")
    return {"name": name, "label": label, "kind": "text", "value": shown, "error": errors.get(name, ""), "help": "",
            "attrs": {"inputmode": "numeric", "maxlength": 40, "autocomplete": "off"}}  # fmt: skip


def _add(
    index: int, endpoints: Sequence[str], keys: Sequence[ApiKey], typed: Mapping[str, str], errors: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the fields of one more quota."""
    targets = [("", "choose", False)]
    targets += [(f"endpoint:{name}", f"Endpoint {name}", False) for name in endpoints[: MOST_LINES * 5]]
    targets += [(f"key:{key.prefix}", f"Key {key.name} ({key.prefix})", False) for key in keys]
    return [
        {"name": f"target-{index}", "label": "For", "kind": "select", "value": typed.get(f"target-{index}", ""),
         "choices": targets, "error": errors.get(f"target-{index}", ""), "help": ""},
        {"name": f"window-{index}", "label": "Counted", "kind": "select", "value": typed.get(f"window-{index}", "day"),
         "choices": WINDOWS, "error": "", "help": ""},
        _number(f"soft-{index}", "Warns at", None, typed, errors),
        _number(f"hard-{index}", "Refuses at", None, typed, errors),
    ]  # fmt: skip
