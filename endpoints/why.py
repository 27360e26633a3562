"""The why box of an endpoint's page: what keeps it from being as it is wanted, in parts. What happened, whose turn it
is, what to do, what was tried, and what happens by itself.
"""

from typing import Any

from django.urls import reverse

from endpoints import cells
from endpoints.clusters.explaining.cases import CASES, GROUPS, REFUSALS
from endpoints.clusters.gitops.words import WORDS
from endpoints.decision import RESTARTING
from endpoints.models import Desired, Endpoint, Phase

GUIDE = "troubleshooting-clusters"
MARK = 40  # characters by which a part is found in the sentence
GOES_ON = " and goes on trying"  # what a cluster does until the portal gives it up
SOMEBODY = {"owner", "platform"}
ANSWERING = {Phase.READY, Phase.DEGRADED}
OF_API = frozenset(GROUPS["Answers of the API server"])
# What a machine of its own says without advice: the causes are those of a cluster.
SAME_ADVICE = ("out_of_memory", "start_timeout", "crashed")


def wanted(row: Endpoint) -> bool:
    """Whether somebody has to act, so that the page says why."""
    if row.phase == Phase.DELETED:
        return False
    failed = row.desired == Desired.RUNNING and row.phase == Phase.FAILED
    return failed or row.reason_turn in SOMEBODY


def box(row: Endpoint) -> dict[str, Any]:
    """Return the parts of the box; `tone` is danger where it does not answer and nothing goes on by itself."""
    what, after = parts(row)
    failed = row.phase == Phase.FAILED and row.desired == Desired.RUNNING
    return {
        "tone": "danger" if failed else "warning",
        "chip": cells.broken_chip(row) if failed else _chip(row),
        "what": what,
        "next": row.reason_next or _advice(row),
        "tried": _tried(row),
        "happens": _happens(row, after),
        "help_url": help_url(row.reason_code),
        "notices_url": reverse("endpoint_notices", args=[row.pk]) if row.cluster.authentication else "",
    }


def help_url(code: str) -> str:
    """Return where the guide speaks of a code; "" for one that is no cluster's."""
    plain = code.removeprefix("rollout_")
    if plain in WORDS:
        return f"{reverse('help_page', args=['gitops'])}#what-is-said"
    return f"{reverse('help_page', args=[GUIDE])}#{plain}" if plain in CASES or plain in REFUSALS else ""


def parts(row: Endpoint) -> tuple[str, str]:
    """Return the reason's sentence up to what was tried and what is to be done, and what follows after these."""
    sentence = row.reason_sentence
    found = [(sentence.find(part[:MARK]), part) for part in (row.reason_tried, row.reason_next) if part]
    found = [(begin, part) for begin, part in found if begin > 0]
    if not found:
        return sentence, ""
    begin, (last, part) = min(found)[0], max(found)
    return sentence[:begin].strip(), sentence[last + len(part) :].strip()


def _chip(row: Endpoint) -> dict[str, Any]:
    if row.phase not in ANSWERING or row.desired != Desired.RUNNING:
        return cells.phase_chip(row)
    return {"label": "Needs attention", "colour": "orange", "icon": "warn", "kind": "filled"}


def _advice(row: Endpoint) -> str:
    code = row.reason_code.removeprefix("rollout_")
    return CASES[code].fix if code in SAME_ADVICE else ""


def _tried(row: Endpoint) -> str:
    said = [row.reason_tried] if row.reason_tried else []
    if row.phase == Phase.FAILED:
        said = [words.replace(GOES_ON, "") for words in said]
    if row.attempts > 1 or (row.attempts and row.phase == Phase.FAILED):
        said.append(f"The portal has started it {'once' if row.attempts == 1 else f'{row.attempts} times'}.")
    return " ".join(said)


def _happens(row: Endpoint, after: str) -> str:
    if row.phase == Phase.FAILED or row.reason_code in {RESTARTING, "waiting_for_capacity"}:
        return cells.happens(row)
    if row.phase in ANSWERING and row.desired == Desired.RUNNING:
        return "What answers calls goes on. " + (after or "The portal looks again by itself.")
    if row.reason_code in OF_API:
        return "The portal asks the cluster again by itself."
    return after or cells.happens(row)
