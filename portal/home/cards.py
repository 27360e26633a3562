"""The cards of the first page in their fixed order: for whom each is, and how many queries it takes.

A page asks the database at most 15 times, whatever the data and however many roles one person has. So each card says
its price, and those that the page cannot afford are fetched by the browser one by one; without a script a link opens
them. The order decides who is served first: what waits for somebody comes before what is good to know.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from portal.home import govern, platform, work
from portal.home.sight import Sight

BUDGET = 8  # queries for cards: the rest of the 15 are the session, the frame, the delegations and the numbers


@dataclass(frozen=True)
class Card:
    """One card. `cost` is the most queries that `cells` makes; `templates/portal/home/<name>.html` draws it."""

    name: str
    title: str
    cost: int
    wanted: Callable[[Sight], bool]
    cells: Callable[[Sight], Mapping[str, Any]]
    side: bool = False
    number: str = ""  # one of sight.numbers: where it is 0, the first page leaves the card out

    @property
    def template(self) -> str:
        """The template that draws the card."""
        return f"portal/home/{self.name}.html"


def _governs(sight: Sight) -> bool:
    return sight.lead or sight.auditor


def _watches(sight: Sight) -> bool:
    return sight.lead or sight.engineer


CARDS = (
    Card("queue", "Waits for a decision", 1, lambda sight: sight.decides, platform.queue),
    Card("broken", "Not as they should be", 1, lambda sight: sight.engineer, platform.broken),
    Card("blocked", "Blocked and still running", 1, _governs, govern.blocked, number="blocked_running"),
    Card("failing", "Rules that do not hold", 1, lambda sight: sight.answers, govern.failing, number="failing"),
    Card("waivers", "Waivers that end soon", 1, lambda sight: sight.answers, govern.waivers, number="waivers_ending"),
    Card("rogues", "Without approval", 1, _watches, govern.rogues, number="rogues"),
    Card("requests", "Your requests", 3, lambda sight: sight.builder, work.requests),
    Card("endpoints", "Endpoints", 2, lambda sight: sight.member, work.endpoints),
    Card("steps", "Get going", 1, lambda sight: True, work.steps, side=True),
    Card("pools", "Accelerators", 5, lambda sight: sight.engineer, platform.pools, side=True),
    Card("assets", "Assets that need a look", 1, lambda sight: sight.lead, govern.assets),
    Card("due", "Ends soon", 2, lambda sight: sight.builder or sight.lead, work.due, side=True),
    Card("seal", "Audit chain", 2, _governs, govern.seal, side=True),
    Card("decisions", "Decisions of the week", 1, lambda sight: sight.auditor, govern.decisions),
    Card("log", "Newest changes", 2, lambda sight: sight.auditor, govern.log),
    Card("tokens", "Tokens left", 2, lambda sight: sight.member, work.tokens, side=True),
    Card("gpus", "GPU budget", 2, lambda sight: sight.owner, work.gpus, side=True),
    Card("newest", "New in the catalog", 1, lambda sight: not sight.auditor, work.newest, side=True),
    Card("chart", "Tokens per day", 1, lambda sight: sight.member, work.chart),
)


def of(sight: Sight) -> list[Card]:
    """Return the cards for this person, in their order."""
    return [card for card in CARDS if card.wanted(sight)]


def on_page(sight: Sight) -> list[Card]:
    """Return the cards of the first page: those for this person that have something to say."""
    return [card for card in of(sight) if not card.number or sight.numbers[card.number]]


def fill(found: Iterable[Card], sight: Sight) -> list[dict[str, Any]]:
    """Return the cards with their cells, as many as BUDGET allows; the others with None.

    A card that needs fewer queries than it might leaves the rest to the next one.
    """
    filled: list[dict[str, Any]] = []
    sight.numbers  # noqa: B018 - asked once, before the counting starts
    with _Counter() as asked:
        for card in found:
            affordable = asked.count + card.cost <= BUDGET
            filled.append({"card": card, "cells": card.cells(sight) if affordable else None})
    return filled


class _Counter:
    """Counts the queries inside a `with` block."""

    def __init__(self) -> None:
        self.count = 0
        self._wrapper = connection.execute_wrapper(self._ask)

    def __enter__(self) -> "_Counter":
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._wrapper.__exit__(None, None, None)

    def _ask(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)
