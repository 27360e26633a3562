"""History of an asset: what happened to it and its versions, before and after, when, why, and by whom."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import Group

from audit.models import Row
from audit.reading import Change, about, names
from catalog import cells
from catalog.models import Asset, Version, VersionState
from projects.models import PLATFORM_GROUPS
from projects.permissions import can_anywhere
from projects.principal import Principal

SHOWN = 25
LONG = 300  # characters of a value
AROUND = 60  # characters before the first that differs
# What everybody who sees the asset reads; the rest (who was granted it, among others) is for those who read the audit.
OPEN = {
    "catalog.create_asset": ("Asset added", "plus"),
    "catalog.change_asset": ("Card changed", "draft"),
    "catalog.create_version": ("Version added", "plus"),
    "catalog.submit": ("Handed to review", "view"),
    "catalog.approve": ("Approved", "ok"),
    "catalog.reject": ("Sent back", "warn"),
    "catalog.take_back": ("Taken back from review", "withdrawn"),
    "catalog.discard": ("Discarded", "trash"),
    "catalog.deprecate": ("Deprecated", "warn"),
    "catalog.retire": ("Retired", "retired"),
    "catalog.block": ("Blocked", "ban"),
    "catalog.collect_evidence": ("Evidence collected", "shield"),
    "catalog.attach": ("Document added", "doc"),
    "catalog.want_evidence": ("Evidence asked for again", "refresh"),
    "catalog.pin": ("Content pinned", "seal"),
    "catalog.drift": ("The source drifted", "warn"),
}
OTHER = {
    "catalog.list_only": ("Kept for those who are listed", "lock"),
    "catalog.open_to_everyone": ("Opened to everyone", "team"),
}
STEPS = {"submit", "approve", "reject", "take_back", "discard", "deprecate", "retire", "block"}
BORING = {"asset", "version", "slug", "digest", "kind"}  # what a line says already


def tab(principal: Principal, asset: Asset, versions: Sequence[Version], before: str) -> dict[str, Any]:
    """Return what the tab “History” shows of `asset` and of those of its `versions` that the person reads.

    Names are for those who read the audit log; others read their own and the role of everybody else.
    """
    whole = can_anywhere(principal, "view", Row)
    known = {str(version.pk): version for version in versions}
    cursor = int(before) if before.isascii() and before.isdigit() and len(before) <= 18 else None
    found = about(
        {"asset": [str(asset.pk)], "version": list(known)},
        before=cursor,
        most=SHOWN + 1,
        actions=None if whole else OPEN,
    )
    shown = found[:SHOWN]
    people = names(change.actor for change in shown) if shown else {}
    roles = {} if whole else _roles(shown)
    lines = [_line(change, known, _who(change, principal, people, roles, whole=whole)) for change in shown]
    address = cells.detail_url(asset, tab="history")
    older = f"{address}&before={shown[-1].id}" if len(found) > SHOWN else ""
    return {"history": lines, "older_url": older, "newest_url": address if cursor is not None else "", "whole": whole}


def _line(change: Change, versions: Mapping[str, Version], who: str) -> dict[str, Any]:
    version = versions.get(change.object_id) if change.object_kind == "version" else None
    verb = change.action.partition(".")[2]
    words, icon = (OPEN | OTHER).get(change.action) or (verb.replace("_", " ").capitalize(), "info")
    fields = [name for name in dict.fromkeys([*change.before, *change.after]) if name not in BORING]
    return {
        "id": change.id,
        "at": change.at,
        "words": words,
        "icon": icon,
        "version": version.version if version else "",
        "url": cells.detail_url(version.asset, version) if version else "",
        "who": who,
        "reason": change.reason,
        "verdicts": _verdicts(change.after.get("verdicts")),
        "fields": [_field(change, name) for name in fields],
        "folded": verb not in STEPS and bool(fields),
    }


def _field(change: Change, name: str) -> dict[str, str]:
    """Return a field before and after; of two long texts the part in which they begin to differ."""
    old, new = change.before.get(name), change.after.get(name)
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > LONG:
        shorter = min(len(old), len(new))
        same = next((at for at in range(shorter) if old[at] != new[at]), shorter)
        skipped = max(0, same - AROUND)
        dots = "…" if skipped else ""
        old, new = f"{dots}{old[skipped:]}", f"{dots}{new[skipped:]}"
    return {
        "name": name.replace("_", " "),
        "old": _shown(old, name) if name in change.before else "",
        "new": _shown(new, name) if name in change.after else "",
    }


def _verdicts(found: object) -> str:
    """Return what checks found, in one line."""
    if not isinstance(found, dict):
        return ""
    return ", ".join(f"{cells.title(kind)}: {verdict}" for kind, verdict in sorted(found.items()))


def _shown(value: Any, name: str) -> str:
    if name == "state" and value in VersionState:
        return VersionState(value).label.lower()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _who(
    change: Change, principal: Principal, people: Mapping[str, str], roles: Mapping[str, str], *, whole: bool
) -> str:
    if not change.actor.startswith("user:"):
        return people.get(change.actor, change.actor) if whole or change.actor.startswith("system:") else "a program"
    if whole or change.actor == principal.key:
        return people.get(change.actor, "somebody who left")
    return roles.get(change.actor, "a proposer")


def _roles(changes: Sequence[Change]) -> dict[str, str]:
    """Return the platform role of each person who changed something (one query)."""
    ids = {change.actor.partition(":")[2] for change in changes if change.actor.startswith("user:")}
    held = Group.objects.filter(name__in=PLATFORM_GROUPS, user__public_id__in=ids).order_by("name")
    rows = held.values_list("user__public_id", "name")
    return {f"user:{pk}": f"a {name.removesuffix('s').replace('-', ' ')}" for pk, name in rows}
