"""What a request may say, with bounds. Pages and the API go through the same door."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.models import DataClassification
from endpoints.models import Environment
from portal.errors import Invalid
from portal.http import clean_text, field_errors
from projects.models import is_slug, slug_validator

MAX_REPLICAS, MAX_CONCURRENCY, MAX_CONTEXT = 64, 1024, 10_000_000
MAX_PURPOSE, MAX_DAYS = 2000, 730


class EndpointBody(BaseModel):
    """A request for an endpoint. Every field may be empty in a draft; `complete` says what is missing for a
    submission.
    """

    model_config = ConfigDict(extra="forbid", strict=False)

    kind: Literal["endpoint"] = "endpoint"
    project: str | None = Field(None, max_length=40)
    name: str | None = Field(None, max_length=40)
    asset: str | None = Field(None, max_length=40)
    version: str | None = Field(None, max_length=40)
    hardware_profile: str | None = Field(None, max_length=40)
    environment: Literal["dev", "staging", "prod"] | None = None
    replicas: int | None = Field(1, ge=1, le=MAX_REPLICAS)
    concurrency: int | None = Field(8, ge=1, le=MAX_CONCURRENCY)
    context_tokens: int | None = Field(4096, ge=1, le=MAX_CONTEXT)
    purpose: str | None = None
    data_classification: Literal["public", "internal", "confidential", "restricted"] | None = None
    ends_on: dt.date | None = None

    def stored(self) -> dict[str, Any]:
        """Return the body as it is kept and digested."""
        return self.model_dump(mode="json")


REQUIRED = tuple(name for name in EndpointBody.model_fields if name != "kind")
assert set(Environment.values) == {"dev", "staging", "prod"}  # noqa: S101 - the literals above say the same
assert set(DataClassification.values) == {"public", "internal", "confidential", "restricted"}  # noqa: S101


def parse(data: Mapping[str, Any]) -> EndpointBody:
    """Return the body in `data` after checking types and bounds; raises Invalid naming each field, its limit and the
    fix.
    """
    if not isinstance(data, Mapping):
        raise Invalid("The body must be a JSON object.", fields={"body": "The body must be a JSON object."})
    kind = data.get("kind", "endpoint")
    if kind != "endpoint":
        raise Invalid.field(
            "kind", f"kind is {str(kind)[:40]!r}; this release takes endpoint.", code="kind_not_available"
        )
    unknown = [str(name)[:60] for name in data if name not in EndpointBody.model_fields][:20]
    if unknown:
        fields = {name: f"{name} is not a field of this request. Remove it or check its spelling." for name in unknown}
        raise Invalid(fields[unknown[0]], fields=fields)
    if any(isinstance(value, bool) for value in data.values()):
        name = next(name for name, value in data.items() if isinstance(value, bool))
        raise Invalid.field(str(name)[:60], f"{str(name)[:60]} cannot be true or false.")
    try:
        body = EndpointBody.model_validate(dict(data))
    except ValidationError as error:
        raise field_errors(error.errors(include_url=False)) from error
    problems: dict[str, str] = {}
    for name in ("project", "name", "asset", "version", "hardware_profile"):
        value = getattr(body, name)
        if value is not None:
            _clean_into(body, name, problems, high=40)
    if body.name and "name" not in problems and not is_slug(body.name):
        problems["name"] = f"name is {body.name!r}. {slug_validator.message}"
    if body.purpose is not None:
        _clean_into(body, "purpose", problems, high=MAX_PURPOSE, lines=True)
    if body.ends_on is not None:
        today = timezone.now().date()
        if body.ends_on <= today:
            problems["ends_on"] = f"ends_on is {body.ends_on}; choose a date after today ({today})."
        elif body.ends_on > today + dt.timedelta(days=MAX_DAYS):
            problems["ends_on"] = (
                f"ends_on is {body.ends_on}; the limit is {MAX_DAYS} days from today. Choose an earlier date."
            )
    if problems:
        raise Invalid(next(iter(problems.values())), fields=problems)
    return body


def _clean_into(body: EndpointBody, name: str, problems: dict[str, str], *, high: int, lines: bool = False) -> None:
    try:
        setattr(body, name, clean_text(getattr(body, name), field=name, high=high, lines=lines) or None)
    except Invalid as error:
        problems.update(error.fields)


def complete(body: EndpointBody) -> None:
    """Raise Invalid naming every field that a submission needs and `body` lacks."""
    missing = {name: f"{name} is missing. Fill it in." for name in REQUIRED if getattr(body, name) is None}
    if missing:
        raise Invalid(next(iter(missing.values())), fields=missing)
