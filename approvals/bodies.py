"""What a request may say, with bounds: one model per kind. Pages and the API go through the same door.

What a body means, and what it does when it is approved, stands in approvals/kinds/.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from approvals.models import DataClassification
from endpoints.models import Environment
from endpoints.rollouts import CANARY_PERCENT
from portal.errors import Invalid
from portal.http import clean_text, field_errors
from projects.models import is_slug, slug_validator

MAX_REPLICAS, MAX_CONCURRENCY, MAX_CONTEXT = 64, 1024, 10_000_000
MOST_TOOLS, LONGEST_TOOL = 500, 128
MAX_PURPOSE, MAX_DAYS, MAX_QUOTA = 2000, 730, 10**15
MAX_WAIVER_DAYS, MAX_KEY = 180, 2**63 - 1


class RequestBody(BaseModel):
    """What all kinds share. Every field may be empty in a draft; `complete` says what a submission lacks."""

    model_config = ConfigDict(extra="forbid", strict=False)
    NAMES: ClassVar[tuple[str, ...]] = ()  # one line, at most 40 characters
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str
    purpose: str | None = None

    def stored(self) -> dict[str, Any]:
        """Return the body as it is kept and digested."""
        return self.model_dump(mode="json")

    def clean(self, problems: dict[str, str]) -> None:
        """Tidy up beyond types and bounds; adds to `problems`, by field."""

    def conflicts(self) -> dict[str, str]:
        """Return what the fields of a whole body say against each other, by field."""
        return {}


class EndpointBody(RequestBody):
    """A request for a new endpoint, or one that adopts what runs already."""

    NAMES: ClassVar[tuple[str, ...]] = ("project", "name", "asset", "version", "hardware_profile")
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "promoted_from", "adopts"})

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
    data_classification: Literal["public", "internal", "confidential", "restricted"] | None = None
    ends_on: dt.date | None = None
    promoted_from: str | None = Field(None, max_length=40, description="Id of the endpoint that it is promoted from.")
    adopts: int | None = Field(
        None, ge=1, le=MAX_KEY, description="Id of a workload without approval that becomes this endpoint."
    )

    def stored(self) -> dict[str, Any]:
        """Return the body as it is kept and digested; without promotion and adoption as it was before there were
        any.
        """
        return _without(super().stored(), "promoted_from", "adopts")

    def clean(self, problems: dict[str, str]) -> None:
        """Check the form of the name."""
        if self.name and "name" not in problems and not is_slug(self.name):
            problems["name"] = f"name is {self.name!r}. {slug_validator.message}"
        _check_source(self, problems)


class RevisionBody(RequestBody):
    """Another version, profile or size of a running endpoint. Without `asset` it stays the same one."""

    NAMES: ClassVar[tuple[str, ...]] = ("endpoint", "asset", "version", "hardware_profile")
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "asset", "canary_percent", "promoted_from"})

    kind: Literal["revision"] = "revision"
    endpoint: str | None = Field(None, max_length=40, description="Id of the endpoint.")
    asset: str | None = Field(None, max_length=40)
    version: str | None = Field(None, max_length=40)
    hardware_profile: str | None = Field(None, max_length=40)
    replicas: int | None = Field(None, ge=1, le=MAX_REPLICAS)
    concurrency: int | None = Field(None, ge=1, le=MAX_CONCURRENCY)
    context_tokens: int | None = Field(None, ge=1, le=MAX_CONTEXT)
    canary_percent: int | None = Field(
        None, ge=1, le=CANARY_PERCENT, description="Share of the calls that it gets on trial; none: it takes over."
    )
    promoted_from: str | None = Field(None, max_length=40, description="Id of the endpoint that it is promoted from.")

    def stored(self) -> dict[str, Any]:
        """Return the body as it is kept and digested; without canary and promotion as it was before there were any."""
        return _without(super().stored(), "canary_percent", "promoted_from")

    def clean(self, problems: dict[str, str]) -> None:
        """Check where it is promoted from."""
        _check_source(self, problems)


class RenewalBody(RequestBody):
    """A later end date of an endpoint."""

    NAMES: ClassVar[tuple[str, ...]] = ("endpoint",)

    kind: Literal["renewal"] = "renewal"
    endpoint: str | None = Field(None, max_length=40, description="Id of the endpoint.")
    ends_on: dt.date | None = None


class AccessBody(RequestBody):
    """To call another project's endpoint with keys of the own project. Without `data_classification` the data are
    of the class that the endpoint was approved for.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("project", "endpoint")
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "data_classification"})

    kind: Literal["access"] = "access"
    project: str | None = Field(None, max_length=40, description="The project that wants to call.")
    endpoint: str | None = Field(None, max_length=40, description="Id of the endpoint.")
    data_classification: Literal["public", "internal", "confidential", "restricted"] | None = None
    ends_on: dt.date | None = None


class QuotaBody(RequestBody):
    """More GPUs or tokens until a day: `soft` and `hard` are the numbers that shall count until then."""

    NAMES: ClassVar[tuple[str, ...]] = ("project",)
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "target_name", "window", "soft", "hard"})

    kind: Literal["quota"] = "quota"
    project: str | None = Field(None, max_length=40)
    quota: Literal["gpus", "tokens"] | None = None
    target: Literal["project", "endpoint", "key"] | None = "project"
    target_name: str | None = Field("", max_length=80, description="Name of the endpoint; name or prefix of the key.")
    window: Literal["day", "month", ""] | None = ""
    soft: int | None = Field(None, ge=1, le=MAX_QUOTA)
    hard: int | None = Field(None, ge=1, le=MAX_QUOTA)
    ends_on: dt.date | None = None

    def clean(self, problems: dict[str, str]) -> None:
        """Tidy the target's name; nothing and an empty text are the same."""
        self.window = self.window or ""
        try:
            self.target_name = clean_text(self.target_name or "", field="target_name", high=80)
        except Invalid as error:
            problems.update(error.fields)

    def conflicts(self) -> dict[str, str]:
        """GPUs are held, not used up: no window, no soft limit. Tokens are counted over a window."""
        found: dict[str, str] = {}
        whole = self.target == "project"
        if whole and self.target_name:
            found["target_name"] = "target_name is only for the target endpoint or key. Leave it empty."
        if not whole and not self.target_name:
            found["target_name"] = f"target_name is missing. Give the name of the {self.target}."
        if self.quota == "gpus":
            if not whole:
                found["target"] = f"target is {self.target!r}; GPUs are limited for a whole project. Choose project."
            if self.window:
                found["window"] = "window is only for tokens: GPUs are held, not used up. Leave it empty."
            if self.soft is not None:
                found["soft"] = "soft is only for tokens. Leave it empty and set hard."
            if self.hard is None:
                found["hard"] = "hard is missing. Say how many GPUs."
            return found
        if not self.window:
            found["window"] = "window is missing. Choose day or month."
        if self.soft is None and self.hard is None:
            found["hard"] = "hard is missing. Say how many tokens, or set soft."
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            found["soft"] = f"soft is {self.soft:,}; the limit is hard, {self.hard:,}. Choose a smaller value."
        return found


class McpAccessBody(RequestBody):
    """To use tools of an MCP server in a project. Without `tools` all that the version lists; without `ends_on` until
    somebody ends it.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("project", "asset", "version")
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "tools", "purpose", "ends_on"})

    kind: Literal["mcp-access"] = "mcp-access"
    project: str | None = Field(None, max_length=40)
    asset: str | None = Field(None, max_length=40)
    version: str | None = Field(None, max_length=40)
    tools: list[str] | None = Field(None, description="Names of tools; none: all that the version lists.")
    ends_on: dt.date | None = None

    def clean(self, problems: dict[str, str]) -> None:
        """Tidy the names of tools; nothing and an empty list are the same."""
        try:
            if len(self.tools or []) > MOST_TOOLS:
                count = len(self.tools or [])
                raise Invalid.field("tools", f"tools names {count:,}; the limit is {MOST_TOOLS}. Name fewer.")
            names = {clean_text(name, field="tools", high=LONGEST_TOOL) for name in self.tools or []}
            self.tools = sorted(names - {""}) or None
        except Invalid as error:
            problems.update(error.fields)


class AdmissionBody(RequestBody):
    """To let a version into the catalog, or let a blocked one in again. It belongs to no project."""

    NAMES: ClassVar[tuple[str, ...]] = ("asset", "version")
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "purpose"})

    kind: Literal["admission"] = "admission"
    asset: str | None = Field(None, max_length=40)
    version: str | None = Field(None, max_length=40)


class WaiverBody(RequestBody):
    """To go on although one check fails, for a request or for a running endpoint, until a day."""

    NAMES: ClassVar[tuple[str, ...]] = ("endpoint",)
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"kind", "request", "endpoint"})

    kind: Literal["waiver"] = "waiver"
    request: int | None = Field(None, ge=1, le=MAX_KEY, description="Id of the request that fails the check.")
    endpoint: str | None = Field(None, max_length=40, description="Id of the endpoint that fails it.")
    check: str | None = Field(None, max_length=60, description="Id of the check, as plans and findings name it.")
    compensating_control: str | None = Field(None, description="What is done instead.")
    owner: str | None = Field(None, max_length=150, description="User name of who answers for it until its end.")
    ends_on: dt.date | None = None

    def clean(self, problems: dict[str, str]) -> None:
        """Tidy the text; a waiver is shorter than what it is about."""
        for name, high in (("check", 60), ("owner", 150), ("compensating_control", MAX_PURPOSE)):
            if getattr(self, name) is not None:
                _clean_into(self, name, problems, high=high, lines=name == "compensating_control")
        last = timezone.now().date() + dt.timedelta(days=MAX_WAIVER_DAYS)
        if self.ends_on is not None and "ends_on" not in problems and self.ends_on > last:
            problems["ends_on"] = (
                f"ends_on is {self.ends_on}; a waiver lasts at most {MAX_WAIVER_DAYS} days. Choose {last} or earlier."
            )

    def conflicts(self) -> dict[str, str]:
        """It is about one thing."""
        if self.request is None and not self.endpoint:
            return {"request": "request is missing. Give the id of a request, or of an endpoint as endpoint."}
        if self.request is not None and self.endpoint:
            return {"endpoint": "endpoint is given beside request. A waiver is about one of them; leave the other out."}
        return {}


BODIES: Mapping[str, type[RequestBody]] = {
    "endpoint": EndpointBody,
    "revision": RevisionBody,
    "renewal": RenewalBody,
    "access": AccessBody,
    "quota": QuotaBody,
    "mcp-access": McpAccessBody,
    "admission": AdmissionBody,
    "waiver": WaiverBody,
}
REQUIRED = tuple(name for name in EndpointBody.model_fields if name not in EndpointBody.OPTIONAL)
assert set(Environment.values) == {"dev", "staging", "prod"}  # noqa: S101 - the literals above say the same
assert set(DataClassification.values) == {"public", "internal", "confidential", "restricted"}  # noqa: S101


def parse(data: Mapping[str, Any]) -> RequestBody:
    """Return the body in `data` after checking types and bounds; raises Invalid naming each field, its limit and the
    fix. Without a kind it is a request for an endpoint.
    """
    if not isinstance(data, Mapping):
        raise Invalid("The body must be a JSON object.", fields={"body": "The body must be a JSON object."})
    kind = data.get("kind", "endpoint")
    model = BODIES.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(BODIES)
        raise Invalid.field(
            "kind", f"kind is {str(kind)[:40]!r}; this release takes {known}.", code="kind_not_available"
        )
    unknown = [str(name)[:60] for name in data if name not in model.model_fields][:20]
    if unknown:
        fields = {name: f"{name} is not a field of this request. Remove it or check its spelling." for name in unknown}
        raise Invalid(fields[unknown[0]], fields=fields)
    if any(isinstance(value, bool) for value in data.values()):
        name = next(name for name, value in data.items() if isinstance(value, bool))
        raise Invalid.field(str(name)[:60], f"{str(name)[:60]} cannot be true or false.")
    try:
        body = model.model_validate(dict(data))
    except ValidationError as error:
        raise field_errors(error.errors(include_url=False)) from error
    problems = _problems(body)
    if problems:
        raise Invalid(next(iter(problems.values())), fields=problems)
    return body


def complete(body: RequestBody) -> None:
    """Raise Invalid naming every field that a submission needs and `body` lacks, or that contradicts another one."""
    needed = [name for name in type(body).model_fields if name not in type(body).OPTIONAL]
    found = {name: f"{name} is missing. Fill it in." for name in needed if getattr(body, name) in (None, "")}
    found = found or body.conflicts()
    if found:
        raise Invalid(next(iter(found.values())), fields=found)


def _problems(body: RequestBody) -> dict[str, str]:
    """Clean `body` in place and return what is out of bounds, by field."""
    problems: dict[str, str] = {}
    for name in type(body).NAMES:
        if getattr(body, name) is not None:
            _clean_into(body, name, problems, high=40)
    if body.purpose is not None:
        _clean_into(body, "purpose", problems, high=MAX_PURPOSE, lines=True)
    endpoint = getattr(body, "endpoint", None)
    if endpoint is not None and "endpoint" not in problems:
        try:
            setattr(body, "endpoint", str(uuid.UUID(endpoint)))  # noqa: B010 - not every kind has the field
        except ValueError:
            problems["endpoint"] = f"endpoint is {endpoint!r}; give the id of an endpoint, which has 36 characters."
    _check_end(getattr(body, "ends_on", None), problems)
    body.clean(problems)
    return problems


def _without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a stored body without those of `names` that say nothing."""
    return {name: value for name, value in found.items() if name not in names or value is not None}


def _check_source(body: "EndpointBody | RevisionBody", problems: dict[str, str]) -> None:
    if body.promoted_from is None:
        return
    try:
        body.promoted_from = str(uuid.UUID(body.promoted_from)) if body.promoted_from else None
    except ValueError:
        problems["promoted_from"] = (
            f"promoted_from is {body.promoted_from!r}; give the id of an endpoint, which has 36 characters."
        )


def _check_end(ends_on: dt.date | None, problems: dict[str, str]) -> None:
    today = timezone.now().date()
    if ends_on is None:
        return
    if ends_on <= today:
        problems["ends_on"] = f"ends_on is {ends_on}; choose a date after today ({today})."
    elif ends_on > today + dt.timedelta(days=MAX_DAYS):
        problems["ends_on"] = f"ends_on is {ends_on}; the limit is {MAX_DAYS} days from today. Choose an earlier date."


def _clean_into(body: RequestBody, name: str, problems: dict[str, str], *, high: int, lines: bool = False) -> None:
    try:
        setattr(body, name, clean_text(getattr(body, name), field=name, high=high, lines=lines) or None)
    except Invalid as error:
        problems.update(error.fields)
