"""What a project's quotas look like from outside: one door for the API, the form and the demo."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictInt, ValidationError

from portal.errors import Invalid
from portal.http import field_errors
from projects.api import Body

MOST_TOKENS, MOST_GPUS = 10**15, 100_000
Tokens = Annotated[StrictInt, Field(ge=0, le=MOST_TOKENS)]


class TokenQuota(Body):
    """How many tokens, input and output together, a target may use in a window: `soft` warns, `hard` refuses."""

    target: Literal["project", "endpoint", "key"]
    name: str = Field("", max_length=80)  # of the endpoint; prefix of the key; nothing for the project
    window: Literal["day", "month"]
    soft: Tokens | None = None
    hard: Tokens | None = None


class GpuQuota(Body):
    """How many accelerators the project may hold; null: as many as the pools have."""

    limit: Annotated[StrictInt, Field(ge=0, le=MOST_GPUS)] | None


class QuotaDocument(Body):
    """All quotas of a project. A part that is left out stays as it is; an entry of `tokens` that is left out goes."""

    gpus: GpuQuota | None = None
    tokens: list[TokenQuota] | None = Field(None, max_length=1000)

    @classmethod
    def read(cls, body: "Mapping[str, Any] | QuotaDocument") -> Self:
        """Return the checked document; raises Invalid naming each field, its limit and the fix."""
        if isinstance(body, cls):
            found = body
        else:
            try:
                found = cls.model_validate(body)
            except ValidationError as error:
                raise field_errors(error.errors()) from error
        for index, entry in enumerate(found.tokens or []):
            _check(entry, f"tokens.{index}")
        return found


def _check(entry: TokenQuota, place: str) -> None:
    """Raise Invalid for what no type can say."""
    if entry.soft is None and entry.hard is None:
        raise Invalid.field(
            f"{place}.hard", f"{place} has neither soft nor hard. Give one of them, or leave the entry out."
        )
    if entry.soft is not None and entry.hard is not None and entry.soft > entry.hard:
        raise Invalid.field(
            f"{place}.soft",
            f"{place}.soft is {entry.soft:,}; it warns before {place}.hard refuses, so it can be at most "
            f"{entry.hard:,}.",
        )
