"""Request id and address for every request; expected errors as pages."""

import logging
import re
import uuid
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import sync_only_middleware

from portal.errors import GatehouseError, Malformed
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


class expected_errors:
    """Turn a GatehouseError that leaves a view into a page with its sentence; refuse an address that names nothing."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on. No name holds a NUL, and PostgreSQL would refuse to look for one."""
        if "\0" in request.path or any("\0" in value for _, values in request.GET.lists() for value in values):
            error = Malformed("The address holds a NUL character. Remove %00 from it.")
            if request.path.startswith("/api/"):
                return problem(error, getattr(request, "request_id", ""))
            return self.process_exception(request, error) or self.get_response(request)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for expected errors only; the rest stays a 500."""
        if not isinstance(exception, GatehouseError):
            return None
        known = exception.status if exception.status in {400, 403, 404, 409} else 400
        return render(
            request,
            f"{known}.html",
            {"sentence": exception.sentence, "title": exception.title, "errors": exception.errors},
            status=exception.status,
        )
