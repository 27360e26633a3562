"""A form that saves itself: which draft it is, what of it can be kept, and what the line below it says.

A new form becomes a draft with its first change, as soon as one knows in which project it is. Two windows never
overwrite each other in silence: the form sends back when it saw the draft, and an older one is refused.
"""

import datetime as dt
import re
import secrets
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone

from approvals import services
from approvals.models import Request, RequestState
from approvals.representation import with_related
from approvals.views.asking import KindForm
from approvals.views.live import lenient, say
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from portal.templatetags.gatehouse import day
from projects.permissions import visible
from projects.principal import PortalRequest

REMEMBERED = 24 * 3600  # seconds in which a form knows its draft even when the answer with its number was lost
LONGEST = 64
TOKEN = re.compile(r"[A-Za-z0-9_-]+")
CHANGEABLE = (RequestState.DRAFT, RequestState.CHANGES_REQUESTED)


@dataclass(frozen=True)
class Sheet:
    """What a form carries along. `form`: a name of its own; `draft`: its number; `seen`: `updated_at` as it knows it;
    `newest`: as it is, for one who was told and overwrites.
    """

    form: str = ""
    draft: str = ""
    seen: str = ""
    newest: str = ""

    @classmethod
    def new(cls, current: Request | None = None) -> "Sheet":
        """Return the sheet of a form that is opened."""
        if current is None:
            return cls(form=secrets.token_urlsafe(12))
        return cls(secrets.token_urlsafe(12), str(current.pk), current.updated_at.isoformat())

    @classmethod
    def of(cls, request: PortalRequest) -> "Sheet":
        """Return what the form sent."""
        form, draft, seen, newest = (
            request.POST.get(name, "")[:LONGEST] for name in ("form", "draft", "seen", "newest")
        )
        return cls(form if TOKEN.fullmatch(form) else "", draft, seen, newest)

    @property
    def at(self) -> dt.datetime | None:
        """When the form saw its draft; None when it does not say."""
        return _moment(self.seen)

    @property
    def newest_at(self) -> dt.datetime | None:
        """What `newest` says."""
        return _moment(self.newest)


def _moment(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def continued(request: PortalRequest, sheet: Sheet, kind: str) -> Request | None:
    """Return the draft that a new form has become, or None while it is none (one query).

    Raises Conflict when it was sent or withdrawn since.
    """
    number = sheet.draft or (str(cache.get(_key(request, sheet)) or "") if sheet.form else "")
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        return None
    own = visible(request.principal, Request.objects.all()).filter(requester=request.principal.person, kind=kind)
    found = with_related(own).filter(pk=int(number)).first()
    if found is not None and found.state not in CHANGEABLE:
        raise Conflict(
            f"{found} is {found.get_state_display().lower()} already. What you typed is kept here; saving it makes a "
            "new draft.",
            code="not_a_draft",
        )
    return found


def remember(request: PortalRequest, sheet: Sheet, made: Request) -> None:
    """Keep which draft a new form has become."""
    if sheet.form:
        cache.set(_key(request, sheet), made.pk, REMEMBERED)


def _key(request: PortalRequest, sheet: Sheet) -> str:
    return f"request-form:{request.principal.person.pk}:{sheet.form}"


def save(request: PortalRequest, form: KindForm, current: Request | None, sheet: Sheet) -> HttpResponse:
    """Keep what is right of a form that saves itself, and answer with the line below it.

    422 with the same line when it was not kept: the page stays as it is.
    """
    try:
        current = current or continued(request, sheet, form.KIND)
        kept, wrong = _right(form, current)
        made = _keep(request, kept, current, sheet)
    except Conflict as error:
        return _refused(request, error, current, sheet)
    except (Invalid, Forbidden) as error:
        waiting = {"sentence": "", "waits": _where(form, error)}
        return page(request, "approvals/_draft.html", {"draft": line(None, sheet) | waiting}, status=200)
    remember(request, sheet, made)
    known = Sheet(sheet.form, str(made.pk), made.updated_at.isoformat())
    shown = line(made, known) | {"wrong": ", ".join(wrong)}
    answer = page(request, "approvals/_draft.html", {"draft": shown})
    answer["HX-Replace-Url"] = reverse("request_edit", args=[made.pk])
    if not wrong:
        answer["HX-Trigger"] = "gatehouse:saved"  # leaving does not ask any more
    return answer


def _keep(request: PortalRequest, kept: dict[str, Any], current: Request | None, sheet: Sheet) -> Request:
    if current is None:
        return services.draft(request.principal, kept)
    return services.change(request.principal, current, kept, autosaved=True, seen=sheet.at)


def _right(form: KindForm, current: Request | None) -> tuple[dict[str, Any], list[str]]:
    """Return the body of the fields that are right, with what was saved before in the place of the others, and the
    labels of those.
    """
    data = form.data(form.typed)
    body, wrong = lenient(data)
    if wrong and current is not None:
        body, _ = lenient({name: current.body.get(name) if name in wrong else value for name, value in data.items()})
    labels = [form.LABELS.get(say(form, name, "")[0], name) for name in wrong]
    return body.stored(), list(dict.fromkeys(labels))


def _where(form: KindForm, error: Invalid | Forbidden) -> str:
    """Return what must be chosen before anything can be kept."""
    field = next(iter(error.fields), "")
    label = form.LABELS.get(form.place(field), "")
    return f"Not saved yet: choose {label.lower()} first." if label else error.sentence


def _refused(request: PortalRequest, error: Conflict, current: Request | None, sheet: Sheet) -> HttpResponse:
    shown = line(None, sheet) | {"sentence": error.sentence}
    if current is not None and error.code == "changed_meanwhile":
        current.refresh_from_db(fields=["updated_at"])
        shown |= {"newest": current.updated_at.isoformat(), "other_url": reverse("request_edit", args=[current.pk])}
    elif error.code == "not_a_draft":
        shown |= {"draft": "", "seen": "", "form": secrets.token_urlsafe(12)}
    return page(request, "approvals/_draft.html", {"draft": shown}, status=422)


def line(made: Request | None, sheet: Sheet) -> dict[str, Any]:
    """Return what the line below the form shows, with what the form carries along."""
    return {
        "form": sheet.form,
        "draft": sheet.draft,
        "seen": sheet.seen,
        "newest": sheet.newest,  # the form was told of another window, and may overwrite it
        "saved": _clock(made.updated_at) if made is not None else "",
        "saved_at": made.updated_at if made is not None else None,
        "withdraw_url": reverse("request_withdraw", args=[made.pk])
        if made is not None and made.state == RequestState.DRAFT
        else "",
    }


def _clock(at: dt.datetime) -> str:
    local = timezone.localtime(at)
    clock = f"{local:%H:%M}"
    return clock if local.date() == timezone.localdate() else f"{day(local.date())}, {clock}"
