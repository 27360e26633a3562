"""Errors that people read. Each carries a stable code, a status, one sentence, and where it applies the fields at
fault.
"""

from collections.abc import Mapping, Sequence


class GatehouseError(Exception):
    """Base of all expected errors: `sentence` is shown as it stands, on pages and in problem documents."""

    status = 500
    code = "error"
    title = "Something went wrong"

    def __init__(
        self,
        sentence: str = "",
        *,
        code: str = "",
        fields: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(sentence or self.title)
        self.sentence = sentence or self.title
        self.code = code or self.code
        self.fields: dict[str, str] = dict(fields or {})
        self.extra: dict[str, object] = dict(extra or {})

    @property
    def errors(self) -> list[dict[str, str]]:
        """The field errors as the list that problem documents and error summaries show."""
        return [{"field": field, "message": message} for field, message in self.fields.items()]


class Malformed(GatehouseError):
    """The body is not what the content type says."""

    status, code, title = 400, "malformed", "The request could not be read"


class Invalid(GatehouseError):
    """One or more fields are out of bounds; nothing was changed."""

    status, code, title = 422, "invalid", "Some fields need another value"

    @classmethod
    def field(cls, name: str, sentence: str, *, code: str = "") -> "Invalid":
        """Return the error for one field."""
        return cls(sentence, fields={name: sentence}, code=code)

    @classmethod
    def several(cls, fields: Mapping[str, str]) -> "Invalid":
        """Return the error for `fields`, of which there is at least one."""
        more = f" ({len(fields) - 1} more in errors.)" if len(fields) > 1 else ""
        return cls(next(iter(fields.values())) + more, fields=fields)


class Unauthenticated(GatehouseError):
    """No token, or one that is unknown, expired or revoked."""

    status, code, title = 401, "unauthenticated", "Sign in first"


class Forbidden(GatehouseError):
    """The reader may see the object, but not do this to it. `roles` would allow it, within `project_id` if there is
    one: for the page that says whom to ask.
    """

    status, code, title = 403, "forbidden", "Not allowed"
    roles: frozenset[str] = frozenset()
    project_id: int | None = None

    @classmethod
    def for_want_of(cls, roles: frozenset[str], sentence: str, *, project_id: int | None = None) -> "Forbidden":
        """Return the error for somebody who has none of `roles`."""
        error = cls(sentence)
        error.roles, error.project_id = roles, project_id
        return error


class InsufficientScope(Forbidden):
    """The token lacks the scope that the operation asks for."""

    code = "insufficient_scope"


class NotFound(GatehouseError):
    """It does not exist, or the reader may not know that it does."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(GatehouseError):
    """The object is not in the state that the action starts from."""

    status, code, title = 409, "conflict", "The state has changed"


class PreconditionFailed(GatehouseError):
    """If-Match named another version of the object."""

    status, code, title = 412, "precondition_failed", "The object has changed since it was read"


class TooLarge(GatehouseError):
    """The body is larger than the limit."""

    status, code, title = 413, "too_large", "Too large"


class PreconditionRequired(GatehouseError):
    """PUT and PATCH need If-Match."""

    status, code, title = 428, "precondition_required", "If-Match is needed"


class RateLimited(GatehouseError):
    """Too many calls; `extra["retry_after"]` holds the seconds to wait."""

    status, code, title = 429, "rate_limited", "Too many requests"


class Unavailable(GatehouseError):
    """Something that the portal leans on is away; trying again later is right."""

    status, code, title = 503, "unavailable", "Not available right now"


def one_sentence(messages: Sequence[str]) -> str:
    """Join messages into one line for a log or a problem document's detail."""
    return " ".join(message.strip() for message in messages if message.strip())
