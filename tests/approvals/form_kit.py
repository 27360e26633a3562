"""What the tests of the request forms share: reading a form like a browser, and what a form is about."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from approvals.views.asking import FORMS
from endpoints import services as endpoint_services
from quotas.limits import set_quotas
from tests.conftest import Org
from tests.factories import (
    engineer,
    make_endpoint,
    make_pool,
    make_profile,
)

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}
WHY = "The fraud desk goes on with it."
SOON = (timezone.now().date() + dt.timedelta(days=40)).isoformat()


def text_of(response: Any) -> str:
    """What a person reads, in one line."""
    return re.sub(r"\s+", " ", strip_tags(response.content.decode()))


def value(html: str, name: str) -> str:
    """What the field `name` holds."""
    found = re.search(rf'<(?:input|textarea|select)[^>]* name="{name}"[^>]*>', html)
    assert found, name
    if found.group().startswith("<select"):
        options = html[found.end() : html.index("</select>", found.end())]
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        return chosen.group(1) if chosen else ""
    inside = re.search(r' value="([^"]*)"', found.group())
    return inside.group(1) if inside else html[found.end() : html.index("<", found.end())]


def names(html: str) -> set[str]:
    """The visible fields."""
    return set(re.findall(r'<(?:input|textarea|select)[^>]* id="id_([a-z_]+)"', html)) - {"q"}


def scene(org: Org, kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """An address that another page links to, and what a person types then."""
    if kind == "quota":
        make_pool(limit=8)
        set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
        return {"project": "fraud-detection", "quota": "gpus"}, {"hard": "4", "purpose": WHY}
    profile = make_profile(gpus=1)
    make_pool(limit=8, profiles=[profile])
    owner, project = (org.cy, org.search) if kind == "access" else (org.dana, org.fraud)
    endpoint = make_endpoint(owner, project=project.slug, name="scoring", profile=profile)
    if kind == "access":
        endpoint_services.set_shareable(org.principal(org.cy), endpoint, True)
    typed = {"purpose": WHY} | ({"replicas": "2"} if kind == "revision" else {})
    return {"endpoint": str(endpoint.pk)}, typed


def filled(client: Client, kind: str, address: dict[str, str]) -> dict[str, str]:
    """What a browser sends of the form at `address`."""
    page = client.get("/requests/new/", {"kind": kind} | address)
    assert page.status_code == 200
    html = page.content.decode()
    hidden = dict(re.findall(r'<input type="hidden"[^>]* name="(begun|form|draft|seen)" value="([^"]*)"', html))
    return {name: value(html, name) for name in names(html) if name in FORMS[kind].LABELS} | hidden


OTHERS = ("revision", "renewal", "access", "quota")
