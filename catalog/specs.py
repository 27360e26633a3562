"""What a catalog document may hold: one strict shape for files (catalog/loader.py) and for the REST API
(catalog/api.py).
"""

import json
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from django.core.exceptions import ValidationError as DjangoInvalid
from django.core.validators import RegexValidator
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictInt
from pydantic import model_validator as after_all_fields
from pydantic_core import PydanticCustomError

from catalog.mcp import schema
from catalog.models import asset_slug_validator
from portal.errors import Invalid
from projects.models import slug_validator

# The placeholders that a cluster driver fills in; anything else in braces would be a way into Python's formatting.
PLACEHOLDERS = frozenset({"python", "host", "port", "model", "name", "context", "concurrency"})
FACTS_BYTES = 64 * 1024

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def _wrong(sentence: str) -> PydanticCustomError:
    """Return the error of a field, in words that name the fix; pydantic's own would add a prefix to a ValueError."""
    return PydanticCustomError("catalog", "{sentence}", {"sentence": sentence.rstrip(".")})


def _slug(value: str) -> str:
    return _matching(slug_validator, value)


def _asset_slug(value: str) -> str:
    if value in {"compare", "propose"}:
        raise _wrong("This name is an address of the catalog itself. Choose another one.")
    return _matching(asset_slug_validator, value)


def _matching(validator: RegexValidator, value: str) -> str:
    try:
        validator(value)
    except DjangoInvalid as error:
        raise _wrong(str(error.message)) from error
    return value


def _line(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise _wrong("It holds a control character or a line break. Remove it.")
    return _straight(value)


def _text(value: str) -> str:
    if any(ord(char) < 32 and char not in "\n\t" for char in value):
        raise _wrong("It holds a control character. Remove it.")
    return _straight(value)


def _straight(value: str) -> str:
    if _TURNING.search(value):  # a reviewer would read another command than the one that is started
        raise _wrong("It holds a character that turns the direction of writing. Remove it.")
    return value


def _template(value: str) -> str:
    unknown = set(_PLACEHOLDER.findall(value)) - PLACEHOLDERS
    rest = _PLACEHOLDER.sub("", value)
    if unknown or "{" in rest or "}" in rest:
        raise _wrong(f"Braces may only hold one of {', '.join(sorted(PLACEHOLDERS))}.")
    return value


def _web(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s<>\"']+", value):
        raise _wrong("It must be an address that starts with https:// or http://.")
    return value


def _label(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", value):
        raise _wrong("Use lower-case letters, digits and hyphens.")
    return value


def _version(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", value):
        raise _wrong("Use letters, digits, dot, plus, hyphen and underscore.")
    return value


def _server_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        if value:
            schema.check(value)
    except Invalid as error:
        raise _wrong(error.sentence) from error
    return value


# Labels of nodes and their values, as Kubernetes has them.
LABEL_KEY = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
Slug = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_slug)]
AssetSlug = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_asset_slug)]
Line = Annotated[str, AfterValidator(_line)]
Name = Annotated[Line, Field(min_length=1, max_length=80)]
Remark = Annotated[Line, Field(max_length=1000)]
Web = Annotated[str, Field(max_length=300), AfterValidator(_web)]
Label = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_label)]
VersionName = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_version)]
Argument = Annotated[Line, Field(min_length=1, max_length=300), AfterValidator(_template)]
Publisher = Annotated[Line, Field(max_length=80)]
Summary = Annotated[Line, Field(max_length=300)]
Description = Annotated[str, Field(max_length=20_000), AfterValidator(_text)]
Tasks = Annotated[list[Label], Field(max_length=30)]
Languages = Annotated[list[Label], Field(max_length=200)]


class Strict(BaseModel):
    """Unknown fields are an error, so that a typo never passes in silence."""

    model_config = ConfigDict(extra="forbid")


class Runtime(Strict):
    """How a version is started: the command is a template, filled in by the cluster driver and never given to a
    shell.
    """

    engine: Label
    model: Annotated[Line, Field(max_length=200)] = ""  # what {model} stands for
    image: Annotated[Line, Field(max_length=300)] = ""
    command: Annotated[list[Argument], Field(min_length=1, max_length=60)]
    health_path: Annotated[str, Field(max_length=100, pattern=r"^/[A-Za-z0-9._/-]*$")] = "/health"
    start_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=7200)] = 600
    demo: StrictBool = False
    note: Remark = ""


class Needs(Strict):
    """What serving takes: the inputs of the memory plan (catalog/fit.py)."""

    parameters: Annotated[StrictInt, Field(ge=1, le=10**13)]
    bytes_per_parameter: Annotated[float, Field(gt=0, le=8, strict=True, allow_inf_nan=False)]
    dtype: Annotated[Line, Field(max_length=40)] = ""
    layers: Annotated[StrictInt, Field(ge=1, le=1000)]
    kv_heads: Annotated[StrictInt, Field(ge=1, le=1000)]
    head_dim: Annotated[StrictInt, Field(ge=1, le=4096)]
    kv_bytes: Annotated[float, Field(gt=0, le=8, strict=True, allow_inf_nan=False)] = 2
    max_context_tokens: Annotated[StrictInt, Field(ge=1, le=10_000_000)]
    embedding: StrictBool = False
    sliding_layers: Annotated[StrictInt, Field(ge=0, le=1000)] = 0
    sliding_window: Annotated[StrictInt, Field(ge=0, le=10_000_000)] = 0

    @after_all_fields(mode="after")
    def check_window(self) -> Self:
        """Sliding layers are some of the layers, and have a window."""
        if self.sliding_layers > self.layers:
            raise _wrong(f"sliding_layers is {self.sliding_layers}, but there are only {self.layers} layers.")
        if self.sliding_layers and not self.sliding_window:
            raise _wrong("sliding_layers needs sliding_window, in tokens.")
        return self


class Remote(Strict):
    """An address at which an MCP server answers."""

    type: Literal["streamable-http", "sse"]
    url: Web


class Package(Strict):
    """A package from which an MCP server can be run."""

    type: Literal["oci", "npm", "pypi", "nuget", "mcpb"]
    identifier: Annotated[Line, Field(min_length=1, max_length=200)]
    version: Annotated[Line, Field(max_length=80)] = ""
    digest: Annotated[str, Field(max_length=80, pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    transport: Literal["stdio", "streamable-http", "sse"] = "stdio"


class Tool(Strict):
    """A tool of an MCP server with the hints that its publisher gives; None means that no hint was seen."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: Remark = ""
    read_only_hint: StrictBool | None = None
    destructive_hint: StrictBool | None = None
    idempotent_hint: StrictBool | None = None
    open_world_hint: StrictBool | None = None
    inputs: Annotated[list[Annotated[Line, Field(max_length=80)]], Field(max_length=60)] = []
    note: Remark = ""


class Auth(Strict):
    """How callers sign in to an MCP server."""

    required: StrictBool
    kinds: Annotated[list[Label], Field(max_length=10)] = []
    header: Annotated[Line, Field(max_length=80)] = ""
    package_env: Annotated[Line, Field(max_length=80)] = ""
    note: Remark = ""


class Facts(Strict):
    """What is known about a version, from where, and what nobody has verified."""

    model_id: Annotated[Line, Field(max_length=200)] = ""
    config: Annotated[
        dict[Label | Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")], JsonValue], Field(max_length=60)
    ] = {}
    notes: Annotated[list[Remark], Field(max_length=20)] = []
    limitation: Remark = ""
    licence_note: Remark = ""
    unverified: Annotated[list[Remark], Field(max_length=60)] = []
    indirect: Annotated[list[Remark], Field(max_length=60)] = []
    derived: Annotated[dict[str, Remark], Field(max_length=60)] = {}
    sources: Annotated[dict[str, list[Remark]], Field(max_length=30)] = {}
    recheck: Web = ""
    registry_name: Annotated[Line, Field(max_length=200)] = ""
    repository: Web = ""
    remotes: Annotated[list[Remote], Field(max_length=20)] = []
    packages: Annotated[list[Package], Field(max_length=20)] = []
    tools: Annotated[list[Tool], Field(max_length=200)] = []
    auth: Auth | None = None
    document: Annotated[dict[str, JsonValue], AfterValidator(_server_json)] = {}  # server.json, as it was published

    @after_all_fields(mode="after")
    def check_size(self) -> Self:
        """Bound the whole, since `config` may nest."""
        size = len(json.dumps(self.model_dump(mode="json")))
        if size > FACTS_BYTES:
            raise _wrong(f"facts take {size:,} bytes; the limit is {FACTS_BYTES:,}. Keep only what a reviewer needs.")
        names = [tool.name for tool in self.tools]
        if len(names) != len(set(names)):
            raise _wrong("Two tools have the same name. Name each once.")
        return self


class VersionSpec(Strict):
    """One version. Once loaded it never changes: another content needs another version name."""

    version: VersionName
    source: Annotated[Line, Field(min_length=1, max_length=300, pattern=r"^[a-z][a-z0-9+]*://\S+$")]
    licence: Annotated[Line, Field(min_length=1, max_length=80)]
    runtime: Runtime | None = None
    runtimes: Annotated[dict[Label, Runtime], Field(max_length=10)] = {}
    needs: Needs | None = None
    facts: Facts = Facts()


class AssetSpec(Strict):
    """A model or an MCP server with its versions. Without `access` it stays as it is; a new one is for everyone.

    `projects` and `groups` are granted it when they have no grant yet; nobody loses one by not being named.
    """

    slug: AssetSlug
    kind: Literal["model", "mcp-server"]
    name: Name
    publisher: Publisher = ""
    summary: Summary = ""
    description: Description = ""
    tasks: Tasks = []
    languages: Languages = []
    homepage: Web = ""
    access: Literal["everyone", "listed"] | None = None
    projects: Annotated[list[Slug], Field(max_length=500)] = []
    groups: Annotated[list[Annotated[Line, Field(min_length=1, max_length=150)]], Field(max_length=200)] = []
    versions: Annotated[list[VersionSpec], Field(max_length=50)] = []

    @after_all_fields(mode="after")
    def check_versions(self) -> Self:
        """Version names are unique, and each version fits the kind."""
        names = [item.version for item in self.versions]
        if len(names) != len(set(names)):
            raise _wrong("Two versions have the same name. Name each once.")
        for item in self.versions:
            problem = misfit(self.kind, item)
            if problem:
                raise _wrong(problem)
        return self


class CardSpec(Strict):
    """What may change of an asset that is there; None leaves a field as it is."""

    name: Name | None = None
    publisher: Publisher | None = None
    summary: Summary | None = None
    description: Description | None = None
    tasks: Tasks | None = None
    languages: Languages | None = None
    homepage: Web | None = None


class Toleration(Strict):
    """A taint of nodes that a replica may run on nevertheless."""

    key: Annotated[str, Field(pattern=LABEL_KEY)]
    operator: Literal["Exists", "Equal"] = "Exists"
    value: Annotated[str, Field(pattern=LABEL_VALUE)] = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class ProfileSpec(Strict):
    """What a replica may run on. `memory_bytes` is per accelerator, or of the machine where there is none; the last
    five are for clusters of containers.
    """

    slug: Slug
    name: Name
    accelerator: Annotated[Line, Field(max_length=40)] = ""
    accelerator_count: Annotated[StrictInt, Field(ge=0, le=64)] = 0
    memory_bytes: Annotated[StrictInt, Field(ge=1, le=2**50)]
    price_per_hour: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=4)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None  # None: the currency of the installation
    enabled: StrictBool = True
    order: Annotated[StrictInt, Field(ge=0, le=32_000)] = 100
    resource: Annotated[str, Field(max_length=100, pattern=r"^([a-z0-9.-]+/[A-Za-z0-9._-]{1,63})?$")] = ""
    node_selector: Annotated[
        dict[Annotated[str, Field(pattern=LABEL_KEY)], Annotated[str, Field(pattern=LABEL_VALUE)]],
        Field(max_length=20),
    ] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=20)] = []
    cpu_millis: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 0
    host_memory_bytes: Annotated[StrictInt, Field(ge=0, le=2**50)] = 0

    @after_all_fields(mode="after")
    def check_accelerator(self) -> Self:
        """A count needs a name, and a name a count."""
        if bool(self.accelerator) != bool(self.accelerator_count):
            raise _wrong("accelerator and accelerator_count go together: give both or neither.")
        return self


class Profiles(Strict):
    """The document hardware-profiles.yaml."""

    profiles: Annotated[list[ProfileSpec], Field(min_length=1, max_length=200)]


def misfit(kind: str, spec: VersionSpec) -> str:
    """Return what `spec` lacks for its kind in one sentence, or ""."""
    if kind == "model" and (spec.runtime is None or spec.needs is None):
        return f"Version {spec.version} of a model needs both runtime and needs."
    if kind == "mcp-server" and not (spec.facts.remotes or spec.facts.packages):
        return f"Version {spec.version} of an MCP server needs facts.remotes or facts.packages."
    return ""


def stored(spec: BaseModel | None) -> dict[str, Any]:
    """Return `spec` as it is kept in a JSON column, with defaults filled in."""
    return {} if spec is None else spec.model_dump(mode="json", exclude_none=True)


def fingerprint(slug: str, spec: VersionSpec) -> dict[str, Any]:
    """Return what the digest of a version is taken over.

    Fields at their default are left out: a later release that knows one more optional field computes the same digest.
    """
    return {"asset": slug, **spec.model_dump(mode="json", exclude_defaults=True)}
