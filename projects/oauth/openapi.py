"""The security part of the OpenAPI document: where tokens come from, and which scope each operation wants."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from ninja import NinjaAPI
from ninja.operation import Operation

from projects.api import Bearer
from projects.permissions import SCOPES, SHORT_LIVED

OAUTH, BEARER = "OAuth2", "Bearer"


def secured(document: dict[str, Any], api: NinjaAPI) -> dict[str, Any]:
    """Return `document` with the flows of the provider, and each operation's scope. A key or a token of the host is a
    plain bearer.
    """
    where = f"{settings.BASE_URL}/identity/o"
    token = f"{where}/api/token"
    machine = {name: words for name, words in SCOPES.items() if name not in SHORT_LIVED}
    document["components"]["securitySchemes"][OAUTH] = {
        "type": "oauth2",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": f"{where}/authorize",
                "tokenUrl": token,
                "refreshUrl": token,
                "scopes": dict(SCOPES),
            },
            "clientCredentials": {"tokenUrl": token, "scopes": machine},
        },
    }
    wanted = dict(_wanted(api))
    for operations in document["paths"].values():
        for operation in operations.values():
            scope = wanted.get(operation.get("operationId", ""))
            if operation.get("security") and scope is not None:
                operation["security"] = [{BEARER: []}, {OAUTH: [scope] if scope else []}]
    return document


def _wanted(api: NinjaAPI) -> Iterator[tuple[str, str]]:
    """Yield (operation id, scope) of every operation that takes tokens; scope "" where any token will do."""
    for _, router in api._routers:
        for view in router.path_operations.values():
            for operation in view.operations:
                for auth in operation.auth_callbacks:
                    if isinstance(auth, Bearer):
                        yield _name(api, operation), auth.scope or ""


def _name(api: NinjaAPI, operation: Operation) -> str:
    return operation.operation_id or api.get_openapi_operation_id(operation)
