"""Changing the card of an asset: what people read of it before they ask for it."""

from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods
from pydantic import ValidationError

from catalog import cells, proposing, services
from catalog.models import Asset, Kind, Version, VersionState
from catalog.specs import CardSpec
from catalog.views import proposal
from catalog.views.detail import find
from portal.errors import Conflict, Invalid, RateLimited
from portal.http import field_errors, page
from projects.principal import PortalRequest, Principal

LISTS = ("tasks", "languages")


@require_http_methods(["GET", "POST"])
def catalog_change(request: PortalRequest, slug: str) -> HttpResponse:
    """Show the card as it is; POST changes it. What is wrong stands at its field, and nothing typed is lost."""
    asset = find(request, slug)
    proposing.require_change(request.principal, asset)
    form, seen = text_of(asset), asset.card_digest()
    wrong: Mapping[str, str] = {}
    refused: Conflict | RateLimited | None = None
    if request.method == "POST":
        form = {name: request.POST.get(name, "")[: proposal.LONGEST] for name in names(asset.kind)}
        seen = request.POST.get("seen", "")[:80]
        try:
            changed = services.change_asset(request.principal, asset, _spec(asset, form), seen=seen)
            said = "is changed; what was found about it is judged again" if changed.card() != asset.card() else "stays"
            messages.success(request, f"The card of {changed.name} {said}.")
            return redirect(cells.detail_url(changed))
        except Invalid as error:
            wrong = error.fields
        except (Conflict, RateLimited) as error:
            refused = error
    back = cells.detail_url(asset)
    context = {
        "heading": f"Change the card of {asset.name}",
        "crumbs": [("Catalog", reverse("catalog_list")), (asset.name, back), ("Change the card", "")],
        "fields": [_field(asset, name, form, wrong) for name in names(asset.kind)],
        "errors": [{"field": name, "message": text, "label": proposal.LABELS[name]} for name, text in wrong.items()],
        "refused": refused.sentence if refused else "",
        "seen": seen,
        "waits": _waits(request.principal, asset),
        "action_url": request.path,
        "cancel_url": back,
    }
    return page(request, "catalog/change.html", context, status=422 if wrong else refused.status if refused else 200)


def names(kind: str) -> list[str]:
    """Return the fields of a card, as the form of a proposal orders them."""
    left_out = {"slug"} if kind == Kind.MODEL else {"slug", "languages"}
    return [name for name in proposal.ASSET if name not in left_out]


def text_of(asset: Asset) -> dict[str, str]:
    """Return the card as its form holds it."""
    card = asset.card()
    return {name: ", ".join(card[name]) if name in LISTS else str(card[name]) for name in names(asset.kind)}


def _spec(asset: Asset, form: Mapping[str, str]) -> CardSpec:
    """Return the card that the form holds. Raises Invalid by field; also for taking away what the check of the card
    asks for.
    """
    emptied = [name for name in names(asset.kind) if getattr(asset, name) and not form[name].strip()]
    wrong = {name: f"{proposal.LABELS[name]} is missing. Fill it in." for name in emptied}
    if any(text in form["description"] for text in proposal.PLACEHOLDERS):
        wrong["description"] = proposal.UNTOUCHED
    typed = {name: proposal.words_of(text) if name in LISTS else text.strip() for name, text in form.items()}
    try:
        found = CardSpec.model_validate(typed | {"description": proposal.lines_of(form["description"])})
    except ValidationError as error:
        wrong = dict(proposal.placed(field_errors(error.errors(include_url=False))).fields) | wrong
    if wrong:
        order = [name for name in names(asset.kind) if name in wrong]
        raise Invalid(wrong[order[0]], fields={name: wrong[name] for name in order})
    return found


def _field(asset: Asset, name: str, form: Mapping[str, str], wrong: Mapping[str, str]) -> proposal.Field:
    """Return a field of the form; of a server, too, it stands for itself by now."""
    field = proposal.field_of(asset.kind, name, form, wrong)
    return field | {"required": bool(getattr(asset, name)), "help": proposal.HELP.get(name, "")}


def _waits(principal: Principal, asset: Asset) -> list[str]:
    """Return the versions that wait for a decision: it was asked about the card as it is."""
    rows = Version.objects.visible_to(principal).filter(asset=asset, state=VersionState.IN_REVIEW).order_by("pk")
    return list(rows.values_list("version", flat=True))
