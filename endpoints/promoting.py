"""From dev to staging to prod: under which name an endpoint goes on in another environment, and what it takes along."""

from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from endpoints.models import Desired, Endpoint, Environment, Phase
from portal.errors import Invalid

ORDER = (Environment.DEV, Environment.STAGING, Environment.PROD)
LONGEST = 40  # characters of a name


def base_of(name: str, environment: str) -> str:
    """Return the name that an endpoint has in all environments, without the end that says which one."""
    return name.removesuffix(f"-{environment}") or name


def name_in(name: str, environment: str, to: str) -> str:
    """Return the name that an endpoint gets in the environment `to`: `<name>-<environment>`."""
    base = base_of(name, environment)[: LONGEST - len(to) - 1].rstrip("-")
    return f"{base}-{to}"


def following(environment: str) -> str:
    """Return the environment after this one, "" after the last."""
    place = [str(one) for one in ORDER].index(environment)
    return str(ORDER[place + 1]) if place + 1 < len(ORDER) else ""


def target(source: Endpoint, to: str) -> Endpoint | None:
    """Return the living endpoint that stands for `source` in the environment `to`: one that was promoted from it, or
    has its name there (one query).
    """
    same = Q(promoted_from=source) | Q(name=name_in(source.name, source.environment, to))
    if source.environment != to:
        same |= Q(name=base_of(source.name, source.environment))
    rows = Endpoint.objects.filter(same, project=source.project_id, environment=to)
    rows = rows.exclude(phase=Phase.DELETED).exclude(desired=Desired.DELETED)
    found = sorted(rows, key=lambda row: (row.promoted_from_id != source.pk, row.name))
    return found[0] if found else None


def form_url(source: Endpoint, to: str) -> str:
    """Return the form that asks for `source` in the environment `to`: a new endpoint there, or a revision of the one
    that exists (one query). Raises Invalid for an environment that is none, or its own.
    """
    if to not in Environment.values or to == source.environment:
        others = ", ".join(str(one) for one in ORDER if str(one) != source.environment)
        raise Invalid.field("to", f"to is {to[:20]!r}; {source.name} is promoted to {others}.")
    found = target(source, to)
    asked = {"promoted_from": str(source.pk)}
    asked |= {"kind": "revision", "endpoint": str(found.pk)} if found else {"kind": "endpoint", "environment": to}
    return f"{reverse('request_new')}?{urlencode(asked)}"  # only the route's name is known here
