"""Up to three other ways to run the same thing, each with its own plan: profile, weights with fewer bytes, replicas.

No query: everything that a plan reads is known from the form's own plan.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings

from approvals import plan as plans
from approvals.bodies import MAX_REPLICAS, EndpointBody
from approvals.kinds.endpoint import Resolved
from approvals.sizing import difference, place
from approvals.views import cells
from approvals.views.asking import EndpointForm, KindForm
from approvals.views.live import Live, visible_part
from catalog import fit
from catalog.models import HardwareProfile, Version
from portal.templatetags.gatehouse import bytes_h, money

MOST = 3
USABLE = ("version", "hardware_profile", "replicas")
WORDS = {"pass": "passes", "warn": "warns", "fail": "fails", "waived": "is waived", "info": "is for information"}
Other = tuple[str, dict[str, Any]]  # what is different in words, and the fields


def alternatives(form: KindForm, live: Live) -> list[dict[str, Any]]:
    """Return the plan as typed and up to three others as rows for _what_if.html; none without a plan."""
    body = live.body
    if not isinstance(form, EndpointForm) or not isinstance(body, EndpointBody) or live.plan is None:
        return []
    if not isinstance(live.found, Resolved):
        return []
    rows = [_row("As typed", live.plan, live.plan, "")]
    for words, changes in _others(form, body, live):
        if len(rows) > MOST:
            break
        other = body.model_copy(update=changes)
        found = form.offer.resolve(other)
        if found is None:
            continue
        found = replace(found, near=live.found.near, quota=live.found.quota, whole=False)
        plan = visible_part(form, other, plans.build(form.by, other, resolved=found, rules=live.rules))
        rows.append(_row(words, plan, live.plan, urlencode(changes)))
    return rows if len(rows) > 1 else []


def used(values: Mapping[str, str], text: str) -> dict[str, str]:
    """Return `values` with the fields of an alternative that a button sent."""
    return {**values, **{name: value for name, value in parse_qsl(text[:400])[:10] if name in USABLE}}


def _others(form: EndpointForm, body: EndpointBody, live: Live) -> Iterator[Other]:
    """Yield what else could be asked for, the most useful first; what does not fit is no alternative."""
    found: Resolved = live.found
    fitting = [profile for profile in _fitting(form, body, found.version) if profile.pk != found.profile.pk]
    if fitting:
        yield f"On {fitting[0].name}", {"hardware_profile": fitting[0].slug}
    yield from _smaller_weights(form, body, found)
    yield from _replicas(body, live)
    if len(fitting) > 1:
        yield f"On {fitting[1].name}", {"hardware_profile": fitting[1].slug}


def _fitting(form: EndpointForm, body: EndpointBody, version: Version) -> list[HardwareProfile]:
    """Return the profiles on which `version` fits with the typed context and calls, served in the environment, cheapest
    first.
    """
    context, calls, found = body.context_tokens or 1, body.concurrency or 1, []
    for profile in form.offer.profiles:
        _, cluster = place(profile, profile.pools.all(), form.offer.clusters, body.environment or "")
        if cluster is None or not version.needs:
            continue
        if fit.memory(version.needs, profile, context, calls, settings.GPU_MEMORY_UTILISATION).fits:
            found.append(profile)
    return sorted(found, key=lambda profile: (profile.price_per_hour, profile.slug))


def _smaller_weights(form: EndpointForm, body: EndpointBody, found: Resolved) -> Iterator[Other]:
    """Yield the approved version of the same model whose weights take the fewest bytes, when those are other ones."""
    now = found.version.needs.get("bytes_per_parameter")
    versions = [
        version
        for version in form.offer.versions_of(body.asset or "")
        if version.needs.get("bytes_per_parameter") not in (None, now)
    ]
    for version in sorted(versions, key=lambda item: float(item.needs["bytes_per_parameter"])):
        fitting = _fitting(form, body, version)
        if not fitting:
            continue
        same = any(profile.pk == found.profile.pk for profile in fitting)
        cheaper = fitting[0].price_per_hour < found.profile.price_per_hour
        profile = fitting[0] if cheaper or not same else found.profile
        size = version.needs["bytes_per_parameter"]
        words = f"Version {version.version}, {size:g} byte{'' if size == 1 else 's'} a parameter"
        changes = {"version": version.version}
        if profile.pk != found.profile.pk:
            words, changes = f"{words}, on {profile.name}", changes | {"hardware_profile": profile.slug}
        yield words, changes
        return


def _replicas(body: EndpointBody, live: Live) -> Iterator[Other]:
    """Yield as many replicas as start at once, where the typed ones would wait; else half of them, or two for one."""
    room, now = (live.plan or {}).get("room") or {}, body.replicas or 1
    each = live.found.profile.accelerator_count
    free = room.get("available", 0) // each if each and room.get("position") else 0
    wanted = free if 0 < free < now else now // 2 if now > 1 else 2
    if wanted != now and wanted <= MAX_REPLICAS:
        yield f"{wanted} replica{'s' if wanted > 1 else ''}", {"replicas": wanted}


def _row(words: str, plan: Mapping[str, Any], typed: Mapping[str, Any], use: str) -> dict[str, Any]:
    memory, room, cost = plan["memory"], plan["room"], plan["cost"]
    less = difference(cost["per_month"], typed["cost"]["per_month"])
    return {
        "words": words,
        "use": use,
        "fits": memory["fits"],
        "memory": bytes_h(memory["needed_bytes"]),
        "limit": bytes_h(memory["limit_bytes"]),
        "gpus": plan["gpus"]["total"],
        "room": f"queue, place {room['position']}" if room.get("position") else "at once",
        "per_month": cells.per_month(plan),
        "difference": "" if not use or not float(less) else _signed(less, cost["currency"]),
        "checks": _changed(plan["checks"], typed["checks"]) if use else [],
        "failed": cells.counts(plan)["failed"],
    }


def _signed(amount: str, currency: str) -> str:
    return f"{'−' if amount.startswith('-') else '+'}{money(amount.lstrip('+-'), currency)}"


def _changed(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the rules whose verdict is another one than in the plan as typed."""
    was = {check["id"]: check["verdict"] for check in before}
    return [
        {"title": check["title"], "verdict": check["verdict"], "words": WORDS.get(check["verdict"], check["verdict"])}
        for check in now
        if was.get(check["id"]) != check["verdict"]
    ]
