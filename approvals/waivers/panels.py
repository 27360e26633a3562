"""What other pages show of rules that do not hold: exceptions on a request, and where one can be asked for."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.urls import reverse

from approvals.envelopes.cells import mode_chip
from approvals.envelopes.reading import said_of
from approvals.models import Mode, Request, RequestKind, RequestState
from approvals.verdicts import FAIL
from approvals.waivers import reading
from approvals.waivers.judging import NEVER, OPEN
from projects.permissions import PLATFORM
from projects.principal import Principal

Cell = dict[str, Any]


def of_request(by: Principal, request: Request) -> Cell:
    """Return the waivers of a request, the waiver that it asked for, and what auto-approve rules said (at most two
    queries). Only who runs or governs the platform reads what a rule in shadow would have decided.
    """
    found: Cell = {"waivers": [], "granted": "", "said": []}
    if request.kind == RequestKind.WAIVER:
        rows = reading.of(by).filter(asked=request) if request.state == RequestState.APPROVED else ()
        return found | {"waivers": [reading.cell(row) for row in rows], "granted": "The waiver that was granted"}
    found["waivers"] = reading.on_request(by, request)
    if request.submission and by.groups & PLATFORM:
        found["said"] = [_said(row) for row in said_of(request.pk, request.submission)]
    return found


def _said(row: Mapping[str, Any]) -> Cell:
    live = row["mode"] == Mode.LIVE
    verbs = ("approved", "left it to people") if live else ("would have approved", "would have left it to people")
    return {
        "rule": row["rule"],
        "url": reverse("envelope_detail", args=[row["rule"]]),
        "chip": mode_chip(Mode(row["mode"])),
        "words": f"It {verbs[0] if row['approves'] else verbs[1]}. {row['why']}",
    }


def offered(verdicts: Iterable[Mapping[str, Any]], request: int | None) -> list[Cell]:
    """Return the verdicts of a plan, each failing one that may be waived with the address that asks for a waiver of it.

    `request`: id of the open request whose plan it is; None where there is none yet, or nothing of it can be waived.
    """
    return [
        {**one, "ask_url": reading.ask_url(check=one["id"], request=str(request))}
        if request is not None and one["verdict"] == FAIL and one.get("waivable")
        else {**one}
        for one in verdicts
    ]


def waivable(request: Request) -> int | None:
    """Return the id of a request for which a waiver may be asked while it is open; None for the others."""
    return request.pk if request.state in OPEN and request.kind not in NEVER else None


def waive_url(request: Request) -> str:
    """Return the form in which a reviewer asks for a waiver of an open request; "" where there can be none."""
    return "" if waivable(request) is None else reading.ask_url(request=str(request.pk))
