"""Today's news in one sentence, and the strip of numbers: each number opens its list."""

from collections.abc import Iterator
from typing import Any

from django.urls import reverse

from approvals.insights import objective
from portal.home.sight import ENDS_DAYS, KEYS_DAYS, WEEK_DAYS, Sight

Stat = dict[str, Any]
SAID = 3  # a sentence with more parts is not read


def news(sight: Sight) -> str:
    """Return what needs this person, the most urgent first, in one sentence."""
    said = list(_parts(sight))
    if not said:
        if sight.numbers["endpoints"] or sight.everywhere:
            return "Nothing waits for you."
        return "Nothing runs yet. The catalog is a good place to start."
    more = len(said) - SAID
    shown = [*said[:SAID], f"{more} more thing{'s' if more != 1 else ''} below"] if more > 0 else said
    sentence = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _parts(sight: Sight) -> Iterator[str]:
    now = sight.numbers
    if number := now.get("blocked_running"):
        yield f"{_many(number, 'endpoint')} {_verb(number, 'runs', 'run')} a blocked version"
    if number := now.get("overdue"):
        yield f"{_many(number, 'request')} {_verb(number, 'is', 'are')} overdue"
    if number := now["failed"]:
        yield f"{_many(number, 'endpoint')} failed"
    if number := now.get("rogues"):
        yield f"{_many(number, 'workload')} {_verb(number, 'runs', 'run')} without approval"
    if number := now.get("waiting", 0) - now.get("overdue", 0):
        yield f"{_many(number, 'request')} {_verb(number, 'waits', 'wait')} for a decision"
    if number := now["my_turn"]:
        yield f"{number} of your requests {_verb(number, 'waits', 'wait')} for you"
    if (number := now["ending"]) and (sight.builder or sight.everywhere):
        yield f"{_many(number, 'endpoint')} {_verb(number, 'ends', 'end')} within {ENDS_DAYS} days"
    if number := now.get("keys_ending"):
        yield f"{_many(number, 'key')} {_verb(number, 'ends', 'end')} within {KEYS_DAYS} days"
    if number := now.get("in_review"):
        yield f"{_many(number, 'version')} {_verb(number, 'waits', 'wait')} for review"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def strip(sight: Sight) -> list[Stat]:
    """Return the numbers of the person's first platform role, or of the owner; nobody else needs a strip."""
    if sight.engineer:
        return _engineer(sight)
    if sight.lead:
        return _lead(sight)
    if sight.auditor:
        return _auditor(sight)
    return _owner(sight) if sight.owner else []


def _stat(label: str, value: object, scope: str, url: str, *, bad: bool = False) -> Stat:
    return {"label": label, "value": value, "scope": scope, "url": url, "bad": bad}


def _failing(sight: Sight) -> Stat:
    failed, total = sight.numbers["failed"], sight.numbers["endpoints"]
    url = f"{reverse('endpoint_list')}?phase=failed"
    return _stat("Failing", failed, f"of {_many(total, 'endpoint')}", url, bad=failed > 0)


def _ending(sight: Sight) -> Stat:
    url = f"{reverse('endpoint_list')}?sort=until&ends={ENDS_DAYS}"
    return _stat("Ending", sight.numbers["ending"], f"endpoints, in {ENDS_DAYS} days", url)


def _waiting(sight: Sight) -> list[Stat]:
    waiting, overdue = sight.numbers["waiting"], sight.numbers["overdue"]
    goal = objective()
    url = reverse("approval_list")
    return [
        _stat("Waiting for you", waiting, "requests", f"{url}?mine=1"),
        _stat("Overdue", overdue, f"older than {goal}", url, bad=overdue > 0),
    ]


def _engineer(sight: Sight) -> list[Stat]:
    held, limit = sight.numbers["held"], sight.numbers["limit"]
    accelerators = _stat("Held", f"{held} of {limit}", "accelerators", reverse("capacity"))
    return [*_waiting(sight), _failing(sight), accelerators, _ending(sight)]


def _lead(sight: Sight) -> list[Stat]:
    now, assets = sight.numbers, reverse("home_card", args=["assets"])
    return [
        _waiting(sight)[0],
        _stat("In review", now["in_review"], "versions", assets),
        _stat("In doubt", now["unproven"], "approved versions", assets, bad=now["unproven"] > 0),
        _stat(
            "Blocked, running",
            now["blocked_running"],
            f"of {_many(now['endpoints'], 'endpoint')}",
            reverse("home_card", args=["blocked"]),
            bad=now["blocked_running"] > 0,
        ),
        _ending(sight),
    ]


def _auditor(sight: Sight) -> list[Stat]:
    now, audit = sight.numbers, reverse("audit_list")
    return [
        _stat("Decisions", now["decisions"], f"in {WEEK_DAYS} days", reverse("home_card", args=["decisions"])),
        _stat("Sealed", f"{now['sealed']:,}", "rows in the chain", audit),
        _stat("Not sealed yet", now["unsealed"], "rows since the last seal", audit),
        _stat(
            "Blocked, running",
            now["blocked_running"],
            f"of {_many(now['endpoints'], 'endpoint')}",
            reverse("home_card", args=["blocked"]),
            bad=now["blocked_running"] > 0,
        ),
        _failing(sight),
    ]


def _owner(sight: Sight) -> list[Stat]:
    now = sight.numbers
    project = sight.project.slug if sight.project else ""
    people = reverse("project_detail", args=[project]) if project else reverse("project_list")
    keys = reverse("key_list", args=[project]) if project else reverse("home_card", args=["due"])
    return [
        _stat("Members", now["members"], "of projects that you own", people),
        _stat("Keys ending", now["keys_ending"], f"in {KEYS_DAYS} days", keys),
        _ending(sight),
        _failing(sight),
    ]
