"""One action on many ticked rows: each row has its own outcome, done or refused with a sentence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from portal.errors import GatehouseError, Invalid, NotFound
from portal.http import page

MAX_TICKED = 100


@dataclass(frozen=True)
class BulkAction:
    """A button of the bar under a list: `verb` goes into the form, `label` on the button."""

    verb: str
    label: str
    danger: bool = False
    primary: bool = False
    without_reason: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one row."""

    label: str
    done: bool
    sentence: str
    url: str = ""

    @property
    def chip(self) -> dict[str, str]:
        """The chip in front of the sentence."""
        look = ("Done", "green", "ok") if self.done else ("Refused", "red", "err")
        return dict(zip(("label", "colour", "icon"), look, strict=True)) | {"kind": "filled"}


def ticked(request: HttpRequest) -> list[str]:
    """Return the ids that were ticked, each once; raises Invalid when there is none, or more than 100."""
    ids = list(dict.fromkeys(text.strip()[:64] for text in request.POST.getlist("id") if text.strip()))
    if not ids:
        raise Invalid.field("id", "Nothing is ticked. Tick the rows that you mean, then press the button again.")
    if len(ids) > MAX_TICKED:
        raise Invalid.field("id", f"{len(ids):,} rows are ticked; one action takes at most {MAX_TICKED}.")
    return ids


def chosen_action(request: HttpRequest, actions: Sequence[BulkAction]) -> BulkAction:
    """Return the action whose button was pressed; raises Invalid for any other."""
    verb = request.POST.get("action", "")
    action = next((one for one in actions if one.verb == verb), None)
    if action is None:
        known = ", ".join(one.verb for one in actions)
        raise Invalid.field("action", f"This list has the actions {known}. Press one of its buttons.")
    return action


def perform(
    ids: Iterable[str],
    rows: Mapping[str, Any],
    act: Callable[[Any], str],
    *,
    label: Callable[[Any], str] = str,
    url: Callable[[Any], str] = lambda row: "",
    missing: str = "There is nothing of this kind, or you may not see it.",
) -> list[Outcome]:
    """Return one outcome for each of `ids`, in their order. `rows`: what was found, by id; `act` does it to one row
    and returns the sentence that says so.

    Each call of `act` is a transaction of its own: what one row refuses changes nothing of the others.
    """
    found = []
    for key in ids:
        row = rows.get(key)
        if row is None:
            plain = "".join(char if char.isprintable() else "?" for char in key[:40])
            found.append(Outcome(plain, False, missing))
            continue
        try:
            found.append(Outcome(label(row), True, act(row), url(row)))
        except NotFound as error:
            found.append(Outcome(label(row), False, error.sentence))
        except GatehouseError as error:
            found.append(Outcome(label(row), False, error.sentence, url(row)))
    return found


def outcome_context(outcomes: Sequence[Outcome], *, title: str, back_url: str, back_label: str) -> dict[str, Any]:
    """Return the context of `_list_outcomes.html`: how many of the rows it was done to, and each with its sentence."""
    done = sum(one.done for one in outcomes)
    refused = len(outcomes) - done
    words = f"{done} of {len(outcomes)} done" + (f", {refused} refused" if refused else "")
    return {
        "title": title,
        "words": words,
        "kind": "success" if not refused else "warning" if done else "danger",
        "outcomes": outcomes,
        "back_url": back_url,
        "back_label": back_label,
    }


def outcome_page(request: HttpRequest, context: Mapping[str, Any]) -> HttpResponse:
    """Return the page of what became of each row. `context`: `crumbs`, and `results` of `outcome_context`."""
    return page(request, "_list_outcomes_page.html", context)


def back_to(request: HttpRequest, path: str) -> str:
    """Return the address of the list from which the form came: the field `next` where it is that list, else `path`."""
    wanted = request.POST.get("next", "")
    return wanted if wanted.startswith(f"{path}?") and wanted.isprintable() and len(wanted) < 4000 else path


def bulk_bar(url: str, actions: Sequence[BulkAction], *, reason: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the context of `_list_bulk.html`. `reason` = {label, most}: a text that goes with the action, needed by
    every action but the ones that say `without_reason`.
    """
    return {"url": url, "actions": actions, "most": MAX_TICKED, "reason": reason}
