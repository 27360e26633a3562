"""The steps of a sign-in after the first proof."""

from allauth.account.authentication import get_authentication_records
from allauth.mfa.stages import AuthenticateStage
from django.http import HttpRequest


class SecondFactorStage(AuthenticateStage):
    """Ask for the second factor that a person has here, unless the identity provider saw one already."""

    def _should_handle(self, request: HttpRequest) -> bool:
        records = get_authentication_records(request, self.login.user)
        if any(one.get("method") == "socialaccount" and one.get("second_factor") for one in records):
            return False
        return bool(super()._should_handle(request))
