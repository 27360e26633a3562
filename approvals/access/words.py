"""The five words for people, and what each of them means in permissions: one table."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Model

from approvals.models import Request
from catalog.models import Asset, Version
from projects.models import ApiKey, Project

SEE, REQUEST, INVOKE, MANAGE, DECIDE = WORDS = ("see", "request", "invoke", "manage", "decide")
PROJECT, ASSET = KINDS = ("project", "asset")


@dataclass(frozen=True)
class Meaning:
    """What a word means on one kind of object: whoever may do one of `asks` may do it, a token or key with `scope`."""

    sentence: str
    asks: tuple[tuple[type[Model], str], ...]
    scope: str = ""


_VERBS = ("submit", "approve", "reject", "deprecate", "retire", "block")
MEANINGS: Mapping[tuple[str, str], Meaning] = {
    (PROJECT, SEE): Meaning("see the project", ((Project, "view"),)),
    (PROJECT, REQUEST): Meaning("send requests in the project", ((Project, "request"),), "requests:write"),
    (PROJECT, INVOKE): Meaning("call its endpoints", ((ApiKey, "create"),), "inference:invoke"),
    (PROJECT, MANAGE): Meaning(
        "change the project and its members", ((Project, "change"), (Project, "manage_members")), "admin"
    ),
    (PROJECT, DECIDE): Meaning("decide requests that concern the project", ((Request, "decide"),), "approvals:decide"),
    (ASSET, SEE): Meaning("see the asset in the catalog", ((Asset, "view"),), "catalog:read"),
    (ASSET, REQUEST): Meaning(
        "ask for an endpoint that runs it, or to use it as a server", ((Project, "request"),), "requests:write"
    ),
    (ASSET, INVOKE): Meaning(
        "call an endpoint that runs it, or use it as a server", ((ApiKey, "create"),), "inference:invoke"
    ),
    (ASSET, MANAGE): Meaning(
        "change the asset, its versions and whom it is for",
        (
            *((Asset, verb) for verb in ("change", "open", "grant")),
            *((Version, verb) for verb in ("create", *_VERBS)),
        ),
        "catalog:write",
    ),
    (ASSET, DECIDE): Meaning("decide requests for it", ((Request, "decide"),), "approvals:decide"),
}
READ_REGISTRY = "catalog:read"  # with which clients learn what servers their project may use
NOT_OWN = "not on own requests"
