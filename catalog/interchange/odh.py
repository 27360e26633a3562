"""The catalog source of Open Data Hub's model catalog: a YAML file of models, written and read.

Its models know nothing of memory and commands. What this catalog needs of a version travels as the property
`gatehouse_version`; a file of somebody else becomes assets without a version, which a person completes.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing
from pydantic import ValidationError

from catalog import loader
from catalog.models import Asset, Version
from catalog.specs import AssetSpec, VersionSpec
from portal.errors import Invalid
from portal.http import field_errors

BYTES = 4_000_000
MODELS = 1000
SLUG, VERSION, SOURCE = "gatehouse_slug", "gatehouse_version", "Gatehouse"
_STRING = "MetadataStringValue"


# --- Writing ----------------------------------------------------------------------------------------------------------


def model(asset: Asset, version: Version) -> dict[str, Any]:
    """Return a model of the source: `asset` with its best version."""
    created = str(int(version.created_at.timestamp() * 1000))
    changed = str(int((version.approved_at or version.created_at).timestamp() * 1000))
    times = {"createTimeSinceEpoch": created, "lastUpdateTimeSinceEpoch": changed}
    artifact = {"uri": version.source, **times, "customProperties": _properties({VERSION: _specification(version)})}
    return {
        "name": version.facts.get("model_id") or asset.slug,
        "provider": asset.publisher,
        "description": asset.summary,
        "readme": asset.description,
        "language": asset.languages,
        "license": version.licence.lower(),
        "maturity": {"approved": "Generally Available"}.get(version.state, version.state.capitalize()),
        "tasks": asset.tasks,
        **times,
        "customProperties": _properties({SLUG: asset.slug, "gatehouse_homepage": asset.homepage}),
        "artifacts": [artifact],
    }


def _specification(version: Version) -> str:
    """Return all that a version was loaded with, as JSON."""
    fields = {
        "version": version.version,
        "source": version.source,
        "licence": version.licence,
        "runtime": version.runtime or None,
        "runtimes": version.runtimes,
        "needs": version.needs or None,
        "facts": version.facts,
    }
    return json.dumps({name: value for name, value in fields.items() if value}, sort_keys=True, ensure_ascii=False)


def _properties(values: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"metadataType": _STRING, "string_value": text} for name, text in values.items() if text}


# --- Reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[list[AssetSpec], list[str]]:
    """Return the models of a source as assets, and one sentence for each that comes without a version.

    Raises Invalid with one sentence per finding, each naming the file, the model, the field and the fix.
    """
    document = loader.parse(loader.read_file(path, most=BYTES))
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, list):
        raise Invalid.field("file", f"{path.name} holds no list `models`. Name a catalog source of Open Data Hub.")
    if len(models) > MODELS:
        raise Invalid.field("file", f"{path.name} holds {len(models):,} models; the limit is {MODELS:,}. Split it.")
    specs: list[AssetSpec] = []
    said: list[str] = []
    problems: dict[str, str] = {}
    for number, item in enumerate(models):
        place = f"{path.name}, model {number + 1}"
        try:
            spec, missing = _asset(item)
        except Invalid as error:
            problems |= {f"models.{number}.{where}": f"{place}: {text}" for where, text in error.fields.items()}
            continue
        if any(one.slug == spec.slug for one in specs):
            problems[f"models.{number}.name"] = f"{place}: {spec.slug} stands twice. Keep one of them."
        specs.append(spec)
        said += [f"{place}, {spec.slug}: {missing}"] if missing else []
    if problems:
        first, more = next(iter(problems.values())), len(problems) - 1
        raise Invalid(first + (f" And {more} more." if more else ""), fields=problems)
    return specs, said


def _asset(item: object) -> tuple[AssetSpec, str]:
    """Return the asset that a model describes, and why it has no version, or ""."""
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"].strip():
        raise Invalid.field("name", "it has no name. Write it as a mapping with the field name.")
    custom = _customs(item)
    versions = [made for artifact in _items(item.get("artifacts")) if (made := _version(artifact)) is not None]
    fields = {
        "slug": custom.get(SLUG) or _slug(item["name"]),
        "kind": "model",
        "name": _line(item["name"]).rpartition("/")[2][:80] if SLUG not in custom else _title(item),
        "publisher": _line(item.get("provider"))[:80],
        "summary": _line(item.get("description"))[:300],
        "description": _text(item.get("readme"))[:20_000],
        "tasks": [word for text in _items(item.get("tasks")) if (word := _label(text))][:30],
        "languages": [word for text in _items(item.get("language")) if (word := _label(text))][:200],
        "homepage": custom.get("gatehouse_homepage", ""),
        "versions": versions,
    }
    try:
        spec = AssetSpec.model_validate(fields)
    except ValidationError as error:
        raise field_errors(error.errors(include_url=False)) from error
    licence = _licence(_line(item.get("license")))
    missing = f"no version was made, since a version needs memory figures and a command ({licence}). Add one to it."
    return spec, "" if versions else missing


def _version(artifact: object) -> VersionSpec | None:
    """Return the version that an artifact carries, None for one of somebody else. Raises Invalid."""
    text = _customs(artifact).get(VERSION, "")
    if not text:
        return None
    try:
        return VersionSpec.model_validate_json(text)
    except ValidationError as error:
        found = field_errors(error.errors(include_url=False))
        fields = {f"{VERSION}.{name}": f"{VERSION}: {sentence}" for name, sentence in found.fields.items()}
        raise Invalid(found.sentence, fields=fields) from error


def _title(item: dict[str, Any]) -> str:
    return _line(item.get("displayName")) or _line(item["name"]).rpartition("/")[2][:80]


def _customs(item: object) -> dict[str, str]:
    """Return the custom properties that are text."""
    custom = item.get("customProperties") if isinstance(item, dict) else None
    pairs = custom.items() if isinstance(custom, dict) else ()
    found = {str(name): value.get("string_value") for name, value in pairs if isinstance(value, dict)}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(char for char in text if char.isprintable())


def _text(value: object) -> str:
    text = value.replace("\r\n", "\n") if isinstance(value, str) else ""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def _label(value: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", _line(value).lower()).strip("-")[:40].strip("-")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", _line(name).rpartition("/")[2].lower()).strip(".-")[:40].strip(".-")


def _licence(text: str) -> str:
    """Return a licence as SPDX writes it; what SPDX does not know stays as it is."""
    try:
        parsed = get_spdx_licensing().parse(text[:80], validate=True)
    except ExpressionError:
        return text[:80]
    return str(parsed) if parsed is not None else "no licence"
