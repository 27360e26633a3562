"""The page behind the link of a mail: the plan under its digest, and a form that decides it."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from approvals import mail_link, services
from approvals.mail_link import Link
from approvals.models import Request
from approvals.objective import clock
from approvals.objective.words import against
from approvals.representation import with_all
from approvals.stages.reading import readable
from approvals.stages.standing import Standing
from approvals.views import review
from approvals.views.opened import consequence, context_of
from approvals.views.requests import frozen
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from portal.http import page
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved


@require_http_methods(["GET", "POST"])
@recently_proved(why="You decide over what others may spend.")
def approval_by_mail(request: PortalRequest, token: str) -> HttpResponse:
    """What a link of a mail leads to. Reading it changes nothing; the form decides, as that very person."""
    try:
        link = mail_link.read(token)
        item = _find(request, link)
        mail_link.check(request.principal, link, item)
    except (mail_link.Gone, NotFound, Conflict, Forbidden) as error:
        return _over(request, error)
    if not Standing.seen(request).decides(item):
        sentence = f"{item} does not wait for you any more. Its page says for whom."
        return _over(request, Forbidden(sentence), reverse("request_detail", args=[item.pk]))
    if request.method == "POST":
        return _decide(request, link, item, token)
    return _page(request, item, token)


def _find(request: PortalRequest, link: Link) -> Request:
    """Return the request of a link; a link that was sent to somebody else tells nothing of it."""
    if request.principal.person.pk != link.person:
        raise mail_link.other_person()
    found = with_all(readable(request.principal)).filter(pk=link.request).first()
    if found is None:
        raise NotFound("There is no such request, or you may not see it any more.")
    return found


def _decide(request: PortalRequest, link: Link, item: Request, token: str) -> HttpResponse:
    verb, reason = request.POST.get("decision", ""), request.POST.get("reason", "")
    try:
        if verb not in services.DECISIONS:
            raise Invalid.field("decision", f"decision is {verb[:20]!r}; choose approve, reject or request_changes.")
        with transaction.atomic():
            # Under its lock: what is decided is the plan that the link, and so the page, was about.
            locked = Request.objects.select_for_update().get(pk=item.pk)
            mail_link.check(request.principal, link, locked)
            decided = services.DECISIONS[verb](request.principal, item, reason=reason)
    except mail_link.Gone as error:
        return _over(request, error)
    except (Invalid, Conflict, Forbidden) as error:
        return _page(request, item, token, refused=error, reason=reason[: services.MAX_REASON * 2])
    messages.success(request, f"Your answer to {decided} is kept.")
    return redirect("request_detail", pk=decided.pk)


def _page(
    request: PortalRequest, item: Request, token: str, *, refused: GatehouseError | None = None, reason: str = ""
) -> HttpResponse:
    context: dict[str, Any] = {
        "crumbs": [("Home", reverse("home")), ("Approvals", reverse("approval_list")), (item.number, "")],
        "item": item,
        "name": item.name or item.get_kind_display(),
        "purpose": item.body.get("purpose", ""),
        "asked": context_of(item),
        "plan": frozen(request.principal, item),
        "age": against(clock.seconds(item, timezone.now())),
        "stages": review.stage_cells(item),
        "changes": review.change_cells(item),
        "consequence": consequence(item),
        "refused": refused,
        "post_url": reverse("approval_by_mail", args=[token]),
        "queue_url": reverse("approval_detail", args=[item.pk]),
        "reason": {
            "name": "reason",
            "label": "Reason, kept in the record",
            "kind": "textarea",
            "value": reason,
            "error": refused.fields.get("reason", "") if refused else "",
            "help": "Needed to reject or to ask for changes.",
            "attrs": {"maxlength": services.MAX_REASON, "rows": 3},
        },
    }
    return _private(page(request, "approvals/by_mail.html", context, status=refused.status if refused else 200))


def _over(request: PortalRequest, error: GatehouseError, where: str = "") -> HttpResponse:
    """Say in one sentence why the link leads nowhere, and where to go on."""
    context = {
        "crumbs": [("Home", reverse("home")), ("Approvals", "")],
        "over": error,
        "queue_url": where or reverse("approval_list"),
        "queue_label": "Open the request" if where else "Open the approval queue",
    }
    return _private(page(request, "approvals/by_mail.html", context, status=error.status))


def _private(response: HttpResponse) -> HttpResponse:
    """Keep the page out of caches, and its address out of the referrers of its links."""
    response["Cache-Control"], response["Referrer-Policy"] = "no-store", "same-origin"
    return response
