"""A rule that fails, and the waiver that lets it pass: asked by one person, approved by another."""

import datetime as dt
from typing import Any

from django.utils import timezone

from approvals import services
from approvals.models import Request, Waiver
from endpoints.models import Endpoint
from projects.models import User
from projects.principal import Principal
from tests.approvals.envelopes.kit import SMALL, publish
from tests.conftest import Org
from tests.factories import lead, make_request

RULE = "tst-001"


def rule(**fields: Any) -> None:
    """Let a rule count that fails above four parallel calls."""
    publish(rules=[SMALL | fields])


def soon(days: int = 30) -> str:
    return (timezone.now().date() + dt.timedelta(days=days)).isoformat()


def failing_draft(org: Org, **fields: Any) -> Request:
    """A draft of dana's that fails the rule."""
    made: Request = make_request(org.dana, state="draft", **({"concurrency": 8} | fields))
    return made


def body(about: Request | Endpoint, **fields: Any) -> dict[str, Any]:
    """A whole body that asks for a waiver."""
    key = {"request": about.pk} if isinstance(about, Request) else {"endpoint": str(about.pk)}
    return {
        "kind": "waiver", **key, "check": RULE, "owner": "omar", "ends_on": soon(),
        "purpose": "The card scheme sends bursts.", "compensating_control": "A rate limit in front of it.",
    } | fields  # fmt: skip


def ask(who: User, about: Request | Endpoint, **fields: Any) -> Request:
    """A request for a waiver by `who`."""
    return services.send(Principal.of(who), body(about, **fields))


def grant(who: User, about: Request | Endpoint, **fields: Any) -> Waiver:
    """The waiver that a governance lead approved."""
    asked = ask(who, about, **fields)
    services.approve(lead(), asked)
    return Waiver.objects.get(asked=asked)


def waived_draft(org: Org, **fields: Any) -> Request:
    """A draft of dana's whose failing rule is waived."""
    draft = failing_draft(org, **fields)
    grant(org.dana, draft)
    return draft
