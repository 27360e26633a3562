"""What pages show of clusters: chips, the sentence and whose turn, the findings of the last test, facts."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.utils import timezone

from endpoints.away import AWAY
from endpoints.clusters.checks import Check
from endpoints.fleet.access import has_api
from endpoints.fleet.examining import WAITS
from endpoints.fleet.options import GIT, OPTIONS, clean
from endpoints.models import Cluster
from endpoints.watching.words import words
from portal.templatetags.gatehouse import day

Cell = dict[str, Any]
SILENT = dt.timedelta(minutes=5)  # without a word of it, where it is looked at each minute
SOON = dt.timedelta(days=14)
VERDICTS = {
    "pass": ("Pass", "green", "ok"),
    "warn": ("Warning", "orange", "warn"),
    "fail": ("Fail", "red", "err"),
    "skip": ("Not asked", "grey", "none"),
}
DRIVERS = {"local": "Processes of this machine", "kubernetes": "Kubernetes", "kserve": "KServe", "gitops": "GitOps"}


def make_chip(label: str, colour: str, icon: str, kind: str = "filled") -> Cell:
    """Return a chip as templates show it."""
    return {"label": label, "colour": colour, "icon": icon, "kind": kind}


def driver_name(driver: str) -> str:
    """Return what people call a driver."""
    return DRIVERS.get(driver, driver)


def health(cluster: Cluster) -> Cell:
    """Return how a cluster is: chip, sentence, whose turn, and whether somebody must act (`broken`)."""
    now = timezone.now()
    if not has_api(cluster):
        chip, sentence, turn = make_chip("Here", "green", "ok"), "Its engines are processes of this machine.", ""
    elif cluster.problem_code:
        down = cluster.problem_code in AWAY
        chip = make_chip("Not connected" if down else "Incomplete", "red", "err")
        sentence, turn = cluster.problem_sentence, "platform engineers"
    elif cluster.last_seen_at is None:
        chip, sentence, turn = make_chip("Not tested", "grey", "pending"), "No test has been made yet.", "the portal"
    elif now - cluster.last_seen_at > SILENT:
        chip = make_chip("Silent", "orange", "degraded")
        sentence, turn = "The portal has not looked at it lately; does a worker run?", "platform engineers"
    elif cluster.credential_ends and cluster.credential_ends - now < SOON:
        chip = make_chip("Credential ends", "orange", "warn")
        sentence = f"Its credential ends on {day(cluster.credential_ends)}. Give it a new one before."
        turn = "platform engineers"
    else:
        chip, sentence, turn = make_chip("Connected", "green", "ok"), "It answers, and nothing is missing.", ""
    return {"chip": chip, "sentence": sentence, "turn": turn, "broken": chip["colour"] == "red"}


def maintenance_chip(cluster: Cluster) -> Cell | None:
    """Return the chip of a paused cluster."""
    return make_chip("Maintenance", "orange", "pause") if cluster.paused else None


def chips(cluster: Cluster) -> list[Cell]:
    """Return all chips beside the name."""
    paused = maintenance_chip(cluster)
    simulated = [make_chip("Simulated accelerators", "purple", "info", "outline")] if cluster.simulated else []
    return [health(cluster)["chip"], *([paused] if paused else []), *simulated]


def findings(cluster: Cluster) -> Cell:
    """Return the last test for its table: a line for each check, the verbs of the account counted in one, and those
    that did not pass on lines of their own; and whether a test is on its way.
    """
    found = [Check(**one) for one in cluster.checks]
    verbs = [check for check in found if check.name == "permissions"]
    lines: list[Cell] = []
    for check in found:
        if check.name == "permissions" and check.what:
            if check is verbs[0]:
                lines += _permissions(verbs)
        else:
            lines.append(_line(check))
    asked = cluster.asked_at
    waited = timezone.now() - asked if asked else dt.timedelta(0)
    return {
        "lines": lines,
        "granted": [_line(check) for check in verbs if check.verdict == "pass"],
        "testing": asked is not None and waited <= WAITS,
        "stuck": asked is not None and waited > WAITS,
        "checked_at": cluster.checked_at,
        "announce": f"{sum(one['verdict'] == 'fail' for one in lines)} of {len(found)} checks failed.",
    }


def _permissions(verbs: Sequence[Check]) -> list[Cell]:
    passed = [check for check in verbs if check.verdict == "pass"]
    sentence = f"{len(passed)} of {len(verbs)} verbs are granted."
    worst = next((name for name in ("fail", "skip") if any(one.verdict == name for one in verbs)), "pass")
    whole = Check("permissions", "fail" if worst == "fail" else "skip" if worst == "skip" else "pass", sentence)
    return [_line(whole), *(_line(check) for check in verbs if check.verdict != "pass")]


def _line(check: Check) -> Cell:
    return {
        "title": check.title, "mono": check.name == "permissions" and bool(check.what), "verdict": check.verdict,
        "sentence": check.sentence, "fix": check.fix, "chip": make_chip(*VERDICTS[check.verdict]),
    }  # fmt: skip


def facts(cluster: Cluster) -> list[Cell]:
    """Return the facts at the side; nothing by which somebody could get in."""
    rows: list[Cell] = [
        {"name": "Slug", "value": cluster.slug, "copied": True},
        {"name": "Driver", "value": driver_name(cluster.driver)},
        {"name": "Serves", "value": ", ".join(cluster.environments)},
    ]
    if not has_api(cluster):
        return [*rows, {"name": "State in", "value": settings.STATE_DIR.name}]
    rows += [
        {"name": "Server", "value": cluster.server, "copied": True},
        {"name": "Authority", "value": "its own (CA)" if cluster.ca else "those that this machine trusts"},
        {"name": "Version", "value": cluster.version or "not known yet"},
        {"name": "Last answer", "at": cluster.last_seen_at},
        {"name": "Changes", "value": words(cluster, timezone.now())},
    ]
    if cluster.repository:
        rows.append({"name": "Git repository", "value": cluster.repository, "copied": True})
    return rows + [
        {"name": OPTIONS[name].label, "value": dict(OPTIONS[name].choices).get(value, value)}
        for name, value in clean(cluster.options).items()
        if value and (cluster.repository or OPTIONS[name].group != GIT)
    ]
