"""Who a session belongs to: read together with what they hold, in the one query that every page asks first."""

from allauth.account.auth_backends import AuthenticationBackend

from projects.models import User
from projects.principal import holder


class SignInBackend(AuthenticationBackend):
    """Signs in as allauth does."""

    def get_user(self, user_id: int) -> User | None:
        """Return the person of a session with what they hold; those who hold nothing cost a second query."""
        user = holder(user_id)
        if user is None:
            nobody: User | None = super().get_user(user_id)
            return nobody
        return user if self.user_can_authenticate(user) else None
