"""Request id and address for every request; expected errors as pages."""

import logging
import re
import uuid
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.decorators import sync_only_middleware

from portal import views
from portal.errors import GatehouseError, Invalid, NotFound
from portal.logs import request_id_var
from projects.api import problem
from projects.principal import PortalRequest

Handler = Callable[[HttpRequest], HttpResponse]
log = logging.getLogger(__name__)
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@sync_only_middleware
def request_context(get_response: Handler) -> Handler:
    """Give each request an id (the caller's when it is sane) and the caller's address."""

    def middleware(request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-Id", "")
        request_id = sent if SANE_ID.fullmatch(sent) else uuid.uuid4().hex
        ours = cast(PortalRequest, request)
        ours.request_id, ours.address = request_id, _address(request)
        mark = request_id_var.set(request_id)
        try:
            response = get_response(request)
        finally:
            request_id_var.reset(mark)
        response.headers["X-Request-Id"] = request_id
        return response

    return middleware


def _address(request: HttpRequest) -> str:
    if settings.SECURE_PROXY_SSL_HEADER:  # behind a proxy that we trust: its own entry is the last one
        forwarded = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
        if forwarded:
            return forwarded[:64]
    return str(request.META.get("REMOTE_ADDR", ""))[:64]


def _with_nul(values: QueryDict) -> str:
    """Return the first field that holds a NUL, or "". No name or text does, and PostgreSQL refuses to look for one."""
    return next((name for name, texts in values.lists() if any("\0" in text for text in (name, *texts))), "")


def _nul_in(field: str) -> Invalid:
    return Invalid.field(field, f"{field} holds a NUL character. Remove it and try again.")


def _refusal(request: HttpRequest) -> GatehouseError | None:
    """Return why a request is not even looked at; drop NULs from the filters of a page, where they match nothing."""
    if "\0" in request.path:
        return NotFound("There is no such address.")
    field = _with_nul(request.GET).replace("\0", "")[:60]
    if field and request.path.startswith("/api/"):
        return _nul_in(field)
    if field:
        kept = QueryDict(mutable=True)
        for name, texts in request.GET.lists():
            kept.setlist(name.replace("\0", ""), [text.replace("\0", "") for text in texts])
        request.GET = kept  # type: ignore[assignment] # the stub wants an immutable one
    return None


class expected_errors:
    """Turn a GatehouseError that leaves a view into a page with its sentence; refuse an address that names nothing."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, unless it is refused as a whole."""
        error = _refusal(request)
        if error is None:
            return self.get_response(request)
        if request.path.startswith("/api/"):
            return problem(error, getattr(request, "request_id", ""))
        return views.expected(request, error)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for expected errors only; the rest stays a 500."""
        if isinstance(exception, GatehouseError):
            return views.expected(request, exception)
        # Fields refuse a NUL themselves and keep what was typed; where one was only looked up, PostgreSQL refuses it.
        field = _with_nul(request.POST) if isinstance(exception, DataError) else ""
        if not field:
            return None
        return views.expected(request, _nul_in(field.replace("\0", "")[:60] or "A field's name"))
