"""What runs already: an endpoint of the same version that one may call, or ask for, is the cheapest way. It is read
once for these rows and for the plan beside them.
"""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from approvals.planning.sharing import MOST, Running, room_words
from approvals.views.asking import EndpointForm, KindForm
from portal.templatetags.gatehouse import day


def running(form: KindForm) -> dict[str, Any] | None:
    """Return running endpoints of the chosen version that have room, own ones first, with how busy they are; None
    without one.

    Of an endpoint of another project it says what its owners offered to show: name, environment, model, load, end.
    """
    if not isinstance(form, EndpointForm) or not form.offer.projects:
        return None
    found = [item for item in form.around if item.fits(form.values["data_classification"])]
    return {"rows": [_row(form, item) for item in found[:MOST]]} if found else None


def _row(form: EndpointForm, item: Running) -> dict[str, Any]:
    endpoint = item.endpoint
    until = f" Runs until {day(endpoint.ends_on)}." if endpoint.ends_on else ""
    load = f"{item.busy} of {item.seats} parallel calls busy, {item.waiting} waiting; {item.calls:,} calls since "
    since = f"{timezone.localtime(item.since):%H:%M}" if item.since else ""
    version = endpoint.revision.version if endpoint.revision else None
    return {
        "name": item.name,
        "where": f"{version.asset.name} {version.version} in {endpoint.environment}." if version else "",
        "load": f"{load}{since}. {room_words(item)}{until}",
        **_way(form, item),
    }


def _way(form: EndpointForm, item: Running) -> dict[str, str]:
    """Return what to do with it: open what one may call, ask for what one may not."""
    if item.own or item.granted:
        text = "A key for it costs nothing extra." if item.own else "It is shared with one of your projects."
        return {
            "text": text, "url": reverse("endpoint_detail", args=[item.endpoint.pk]), "label": f"Open {item.name}",
        }  # fmt: skip
    asked = {"kind": "access", "endpoint": str(item.endpoint.pk)}
    asked |= {key: form.values[key] for key in ("project", "ends_on", "data_classification") if form.values[key]}
    url = f"{reverse('request_new')}?{urlencode(asked)}"
    return {"text": "Its owners let other projects ask.", "url": url, "label": f"Ask to use {item.name}"}
