"""The forms for a new asset and for a new version: what is typed, as a specification and back.

What is right and wrong says catalog/specs.py, the same for files and the API; here its sentences find their fields.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from catalog import engine_templates
from catalog.mcp import server_json
from catalog.models import Asset, Kind, Version
from catalog.specs import AssetSpec, VersionSpec
from portal.errors import Invalid
from portal.http import field_errors

LONGEST = 40_000  # what a refused form shows again of one field
PLACEHOLDERS = (
    "One sentence on what it is.", "What it is for, and for whom.", "What it is not for, and what is known to go wrong."
)  # fmt: skip
UNTOUCHED = "Card still has words of the template. Say what this one is for, and what it is not for."
CARD = "{}\n\n## Intended use\n\n{}\n\n## Limitations\n\n{}\n".format(*PLACEHOLDERS)
Field = dict[str, Any]
PRECISIONS = [
    ("2", "2 bytes (bf16, fp16)", False),
    ("1", "1 byte (fp8, int8)", False),
    ("0.5", "half a byte (4 bit)", False),
    ("4", "4 bytes (fp32)", False),
]
ASSET = ("slug", "name", "publisher", "homepage", "summary", "description", "tasks", "languages")
LABELS = {
    "slug": "Short name",
    "name": "Name",
    "publisher": "Publisher",
    "homepage": "Publisher's page",
    "summary": "Summary",
    "description": "Card",
    "tasks": "Tasks",
    "languages": "Languages",
    "version": "Version",
    "source": "Source",
    "licence": "Licence",
    "engine": "Engine",
    "served": "Model of the engine",
    "image": "Image",
    "command": "Command",
    "parameters": "Parameters",
    "bytes_per_parameter": "Precision of the weights",
    "layers": "Layers",
    "kv_heads": "Key-value heads",
    "head_dim": "Head dimension",
    "kv_bytes": "Precision of the cache",
    "max_context_tokens": "Context tokens",
    "embedding": "It makes embeddings, not text",
    "sources": "Where the figures come from",
    "unverified": "What nobody has verified",
    "server_json": "server.json",
}
SECTIONS = {
    Kind.MODEL: (
        ("What it is", ASSET),
        ("This version", ("version", "source", "licence")),
        ("How it is started", ("engine", "served", "image", "command")),
        ("What it needs", ("parameters", "bytes_per_parameter", "layers", "kv_heads", "head_dim", "kv_bytes",
                           "max_context_tokens", "embedding")),
        ("What is known", ("sources", "unverified")),
    ),
    Kind.MCP_SERVER: (
        ("The server", ("server_json", "licence")),
        ("What it is", ("slug", "name", "publisher", "homepage", "description", "tasks")),
    ),
}  # fmt: skip
# The last part of the place of a sentence → the field at which it stands, where the names differ.
PLACES = {"model": "served", "facts": "sources", "runtime": "command", "needs": "parameters"}


def names(kind: str, *, asset: bool) -> list[str]:
    """Return the fields of the form: of a whole proposal, or of a version only."""
    found = [name for _, part in SECTIONS[Kind(kind)] for name in part]
    return found if asset else [name for name in found if name not in ASSET]


def typed(data: Mapping[str, str], kind: str, *, asset: bool) -> dict[str, str]:
    """Return what was typed, bounded."""
    return {name: data.get(name, "")[:LONGEST] for name in names(kind, asset=asset)}


def blank(kind: str) -> dict[str, str]:
    """Return what the form of a new asset begins with."""
    return dict.fromkeys(names(kind, asset=True), "") | {
        "description": CARD, "engine": "vllm", "bytes_per_parameter": "2", "kv_bytes": "2",
    }  # fmt: skip


def text_of(version: Version) -> dict[str, str]:
    """Return a version as its form holds it, for the next one: all but its name and its source's revision."""
    facts, needs, runtime = version.facts, version.needs, version.runtime
    if version.asset.kind == Kind.MCP_SERVER:
        document = facts.get("document") or server_json.document(version)
        return {"server_json": json.dumps(document, indent=2, ensure_ascii=False), "licence": version.licence}
    engine = "demo" if runtime.get("demo") else str(runtime.get("engine", "")).replace("llama-cpp", "llama.cpp")
    sources = [text for part in facts.get("sources", {}).values() for text in part]
    numbers = ("parameters", "layers", "kv_heads", "head_dim", "max_context_tokens")
    return {
        "version": "",
        "source": version.source,
        "licence": version.licence,
        "engine": engine,
        "served": str(runtime.get("model", "")),
        "image": str(runtime.get("image", "")),
        "command": "\n".join(runtime.get("command", [])),
        **{name: str(needs.get(name, "")) for name in numbers},
        "bytes_per_parameter": f"{needs.get('bytes_per_parameter', 2):g}",
        "kv_bytes": f"{needs.get('kv_bytes', 2):g}",
        "embedding": "on" if needs.get("embedding") else "",
        "sources": "\n".join(sources),
        "unverified": "\n".join(str(item) for item in facts.get("unverified", [])),
    }


def asset_spec(kind: str, form: Mapping[str, str]) -> AssetSpec:
    """Return the proposal that the form holds. Raises Invalid by field of the form, also for what the check of the card
    would miss: nobody could add it afterwards.
    """
    wrong, found = _missing(kind, form, asset=True), None
    try:
        found = _asset(kind, form)
    except Invalid as error:
        wrong = (dict(error.fields) or {"form": error.sentence}) | wrong
    if found is None or wrong or not found.homepage:
        page = "Publisher's page is missing, and the document names neither websiteUrl nor repository. Fill it in."
        raise _refusal(kind, wrong or {"homepage": page})
    return found


def _refusal(kind: str, wrong: Mapping[str, str]) -> Invalid:
    """Return what is wrong in the order of the form."""
    order = [name for name in names(kind, asset=True) if name in wrong]
    fields = {name: wrong[name] for name in dict.fromkeys([*order, *wrong])}
    return Invalid(next(iter(fields.values())), fields=fields)


def _missing(kind: str, form: Mapping[str, str], *, asset: bool) -> dict[str, str]:
    """Return a sentence for each field that has to be filled in and is not."""
    needed = [name for name in names(kind, asset=asset) if _required(kind, name)]
    found = {name: f"{LABELS[name]} is missing. Fill it in." for name in needed if not form.get(name, "").strip()}
    if asset and any(text in form.get("description", "") for text in PLACEHOLDERS):
        found["description"] = UNTOUCHED
    return found


def _required(kind: str, name: str) -> bool:
    return name not in OPTIONAL and not (kind == Kind.MCP_SERVER and name in DERIVED)


def _asset(kind: str, form: Mapping[str, str]) -> AssetSpec:
    if kind == Kind.MCP_SERVER:
        return _server(form)
    plain = [name for name in ASSET if name not in {"tasks", "languages", "description"}]
    data: dict[str, Any] = {name: form[name].strip() for name in plain}
    data |= {"tasks": words_of(form["tasks"]), "languages": words_of(form["languages"])}
    whole = {**data, "kind": "model", "description": lines_of(form["description"]), "versions": [_version(form)]}
    try:
        return AssetSpec.model_validate(whole)
    except ValidationError as error:
        raise placed(field_errors(error.errors(include_url=False))) from error


def version_spec(asset: Asset, form: Mapping[str, str]) -> VersionSpec:
    """Return the version that the form holds. Raises Invalid by field of the form."""
    missing = _missing(asset.kind, form, asset=False)
    if missing:
        raise _refusal(asset.kind, missing)
    if asset.kind == Kind.MCP_SERVER:
        return _server(dict(form) | {"slug": asset.slug}).versions[0]
    try:
        return VersionSpec.model_validate(_version(form))
    except ValidationError as error:
        raise placed(field_errors(error.errors(include_url=False))) from error


def _server(form: Mapping[str, str]) -> AssetSpec:
    text = form["server_json"].strip()
    if not text:
        raise Invalid.field("server_json", "server.json is missing. Paste the document of the server.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Invalid.field("server_json", f"server.json is not JSON{where}. Paste the whole document.") from error
    if not isinstance(found, dict):
        raise Invalid.field("server_json", "server.json must be a JSON object. Paste the whole document.")
    given = {name: form.get(name, "").strip() for name in ("slug", "name", "publisher", "homepage")}
    try:
        return server_json.asset_spec(
            found, licence=form["licence"].strip(), description=lines_of(form.get("description", "")),
            tasks=words_of(form.get("tasks", "")), slug=given["slug"], name=given["name"],
            publisher=given["publisher"], homepage=given["homepage"],
        )  # fmt: skip
    except Invalid as error:
        fields = {name if name in form and name != "version" else "server_json": text
                  for name, text in error.fields.items()}  # fmt: skip
        raise Invalid(error.sentence, fields=fields or {"server_json": error.sentence}) from error


def _version(form: Mapping[str, str]) -> dict[str, Any]:
    source = form["source"].strip()
    runtime = _runtime(form, source)
    needs: dict[str, Any] = {name: _number(form[name]) for name in
                             ("parameters", "layers", "kv_heads", "head_dim", "max_context_tokens")}  # fmt: skip
    needs |= {name: _decimal(form[name]) for name in ("bytes_per_parameter", "kv_bytes")}
    needs = {name: value for name, value in needs.items() if value != ""} | {"embedding": bool(form["embedding"])}
    read = _text_lines(form["sources"])
    facts = {"sources": {"read": read} if read else {}, "unverified": _text_lines(form["unverified"])}
    data = {"version": form["version"].strip(), "source": source, "licence": form["licence"].strip()}
    return {**data, "runtime": runtime, "needs": needs, "facts": facts}


def _runtime(form: Mapping[str, str], source: str) -> dict[str, Any]:
    """Return how it is started: by the command that was typed, else as the engine is started here."""
    engine, command = form["engine"].strip(), _text_lines(form["command"])
    name = source.partition("://")[2].partition("@")
    model, image = form["served"].strip() or name[0], form["image"].strip()
    if engine in engine_templates.ENGINES:
        revision = name[2] if source.startswith("hf://") else ""
        made = engine_templates.runtime(engine, model, image=image, revision=revision)
        return made | ({"command": command} if command else {})
    return {"engine": engine, "model": model, "image": image, "command": command}


def lines_of(text: str) -> str:
    """Return what a browser sent with its line ends as the catalog keeps them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_lines(text: str) -> list[str]:
    return [line.strip() for line in lines_of(text).split("\n") if line.strip()]


def words_of(text: str) -> list[str]:
    """Return words that stand beside each other, with commas or without."""
    return [word for word in text.replace(",", " ").split() if word]


def _number(text: str) -> int | str:
    bare = text.strip().replace(",", "").replace("_", "")
    return int(bare) if bare.isascii() and bare.isdigit() and len(bare) <= 18 else text.strip()


def _decimal(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def placed(error: Invalid) -> Invalid:
    """Return `error` by fields of the form: a sentence about versions.0.needs.layers stands at layers."""
    fields: dict[str, str] = {}
    for place, text in error.fields.items():
        parts = [part for part in place.split(".") if not part.isdigit() and part != "versions"]
        name = next((PLACES.get(part, part) for part in reversed(parts) if PLACES.get(part, part) in LABELS), "")
        label = LABELS.get(name, "")
        fields.setdefault(name or "form", text.replace(place, label, 1) if label else text)
    return Invalid(next(iter(fields.values()), error.sentence), fields=fields)


# --- Drawing ----------------------------------------------------------------------------------------------------------

HELP = {
    "homepage": "Where the publisher says what it is; for a model of your own its page in your wiki.",
    "slug": "For addresses and calls: lower-case letters, digits, dots and hyphens. It stays.",
    "tasks": "Words as the catalog's filters use them: chat, code, embeddings.",
    "languages": "Two-letter codes, or multilingual.",
    "description": "Markdown. Reviewers ask for the sections Intended use and Limitations.",
    "version": "It never changes once it is proposed.",
    "source": "hf://organisation/model@commit, oci://registry/name@sha256:…, s3://bucket/prefix, file:///path. "
              "A commit or digest pins it.",
    "licence": "SPDX expression: Apache-2.0, MIT, LicenseRef-Llama-3.1-Community; NOASSERTION while nobody knows.",
    "served": "What {model} stands for in the command; empty: the name in the source.",
    "image": "Where the engine runs as a container.",
    "command": "One argument a line; empty: as the engine is started here. Nothing is started before it is approved.",
    "parameters": "All of them, as a whole number: 8190735360.",
    "sources": "One address a line: the publisher's card, the configuration file.",
    "unverified": "One fact a line. Reviewers see a warning, which is better than a surprise.",
    "server_json": "The document that describes the server in the official format. It says name, version and address.",
}  # fmt: skip
AREAS = {"description": 14, "command": 6, "sources": 3, "unverified": 3, "server_json": 16}
MONO = {name: {"class": "gh-mono"} for name in ("command", "server_json")}
NUMBERS = {"parameters", "layers", "kv_heads", "head_dim", "max_context_tokens"}
OPTIONAL = {"served", "image", "command", "embedding", "unverified"}
DERIVED = {"slug", "name", "publisher", "homepage"}  # of an MCP server: its document says them


def sections(kind: str, form: Mapping[str, str], errors: Mapping[str, str], *, asset: bool) -> list[dict[str, Any]]:
    """Return the fields by section, for _field.html."""
    shown = names(kind, asset=asset)
    found = [
        {"title": title, "fields": [field_of(kind, name, form, errors) for name in part if name in shown]}
        for title, part in SECTIONS[Kind(kind)]
    ]
    return [section for section in found if section["fields"]]


def field_of(kind: str, name: str, form: Mapping[str, str], errors: Mapping[str, str]) -> Field:
    """Return one field of the form, for _field.html."""
    field: Field = {
        "name": name, "label": LABELS[name], "kind": "text", "value": form.get(name, ""), "help": HELP.get(name, ""),
        "error": errors.get(name, ""), "required": _required(kind, name), "attrs": {"autocomplete": "off"},
    }  # fmt: skip
    if kind == Kind.MCP_SERVER and name in DERIVED:
        field["help"] = "Empty: as the document says."
    if name in AREAS:
        field |= {"kind": "textarea", "attrs": {"rows": AREAS[name], "spellcheck": "false"} | MONO.get(name, {})}
    elif name in NUMBERS:
        field |= {"attrs": {"inputmode": "numeric", "autocomplete": "off"}}
    elif name in {"bytes_per_parameter", "kv_bytes"}:
        field |= {"kind": "select", "choices": PRECISIONS, "attrs": {}}
    elif name == "embedding":
        field |= {"kind": "checkbox", "value": "on", "checked": bool(form.get(name)), "attrs": {}}
    elif name == "engine":
        field |= {"kind": "select", "choices": _engines(form.get("engine", "")), "attrs": {}}
    return field


def _engines(value: str) -> list[tuple[str, str, bool]]:
    known = [(name, label, False) for name, label in engine_templates.ENGINES.items()]
    return known if not value or value in engine_templates.ENGINES else [*known, (value[:40], value[:40], False)]
