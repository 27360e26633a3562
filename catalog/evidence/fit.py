"""Fit check: is what the memory plan counts with (`needs`) what the files say? Parameters are counted in the headers of
the weights, the shape is read from config.json or the header of a GGUF file.
"""

import re
from dataclasses import dataclass
from typing import Any

from catalog.evidence import reading
from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.evidence.probing import Look, fetched
from catalog.evidence.reading import Changed, Pinned
from catalog.evidence.sandbox import ProbeFailed
from catalog.models import Verdict, Version
from catalog.probes import formats

KIND, TITLE, CONTENT, DAYS = "fit", "Fit", True, None
TOOL = "gatehouse fit check 1"
TOLERANCE = 0.02  # of the parameters
MOST_WEIGHTS = 1_000  # files of weights
_PART = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")  # of a model in several files
_INDEX = "model.safetensors.index.json"


@dataclass
class _Found:
    """What the files say, by the names of `needs`; where it stands; and what cannot be told."""

    values: dict[str, int]
    origin: str
    notes: list[str]


def applies(version: Version) -> bool:
    """Who has content has a shape."""
    return has_content(version)


def check(case: Case) -> Finding:
    """Compare what is declared with what the files say: a difference fails. Raises SourceError."""
    if case.pin is None or not case.pin.digest:
        return Finding(KIND, Verdict.FAIL, "The content of the source was not read yet.", TOOL)
    tree, known, changed = reading.opened(case)
    if changed:
        text = f"The source holds other files than those that are pinned: {changed[0][:100]}."
        return Finding(KIND, Verdict.FAIL, text, TOOL, {"changed": changed[:20]})
    look = Look(tree)
    try:
        found = _found(look, {item.path: item for item in known})
    except (ProbeFailed, Changed) as error:
        return Finding(KIND, Verdict.FAIL, f"The weights cannot be read: {error}."[:300], TOOL)
    except (KeyError, TypeError, ValueError):
        return Finding(KIND, Verdict.FAIL, "The weights cannot be read: their header makes no sense.", TOOL)
    return _compared(case.version, found, look)


def _compared(version: Version, found: _Found, look: Look) -> Finding:
    rows = []
    for name in ("parameters", "layers", "kv_heads", "head_dim", "max_context_tokens"):
        declared, value = version.needs.get(name), found.values.get(name)
        if declared is None or value is None:
            continue
        rows.append({"field": name, "declared": declared, "found": value, "fits": _fits(name, declared, value)})
    report = {"compared": rows, "from": found.origin, "notes": found.notes, "isolation": look.isolation()}
    wrong = [row for row in rows if not row["fits"]]
    if wrong:
        said = "; ".join(f"{row['field']} is declared as {row['declared']:,}, found {row['found']:,}" for row in wrong)
        return Finding(KIND, Verdict.FAIL, f"The files say something else: {said}."[:300], TOOL, report)
    if not rows:
        return Finding(KIND, Verdict.WARN, "The files do not tell the shape of the model.", TOOL, report)
    names = ", ".join(str(row["field"]) for row in rows)
    if found.notes:
        return Finding(KIND, Verdict.WARN, f"As declared: {names}. {found.notes[0]}"[:300], TOOL, report)
    return Finding(KIND, Verdict.PASS, f"As declared: {names}.", TOOL, report)


def _fits(name: str, declared: int, found: int) -> bool:
    if name == "parameters":
        return abs(declared - found) <= TOLERANCE * found
    if name == "max_context_tokens":
        return declared <= found  # less than the model takes is a choice
    return declared == found


def _found(look: Look, files: dict[str, Pinned]) -> _Found:
    """Return what the files say. Raises ProbeFailed, Changed, SourceError."""
    weights = _weights(look, files)
    ggufs = _ggufs(files)
    config = _document(look, files.get("config.json"))
    if not weights and ggufs:
        return _of_gguf(look, ggufs)
    found = _of_config(config)
    elements, counted = 0, bool(weights)
    for item in weights[:MOST_WEIGHTS]:
        with fetched(look.tree, item, formats.SAFETENSORS) as content:
            facts = look.safetensors(item, content).get("facts", {})
        if "elements" not in facts:
            raise ProbeFailed(f"the header of {item.path} is damaged")
        counted = counted and not facts["packed"]
        elements += facts["elements"]
    if counted and len(weights) <= MOST_WEIGHTS:
        found.values["parameters"] = elements
    else:
        why = "several values stand in one element of its weights" if weights else "there are no safetensors"
        found.notes.append(f"Parameters were not counted: {why}.")
    return found


def _weights(look: Look, files: dict[str, Pinned]) -> list[Pinned]:
    """Return the weights that an engine loads: those that the index names, or model.safetensors, or all beside it."""
    if _INDEX in files:
        shards = _document(look, files[_INDEX]).get("shards", [])
        return [files[name] for name in shards if name in files]
    if "model.safetensors" in files:
        return [files["model.safetensors"]]
    return [item for path, item in sorted(files.items()) if "/" not in path and path.endswith(".safetensors")]


def _document(look: Look, item: Pinned | None) -> dict[str, Any]:
    if item is None:
        return {}
    with fetched(look.tree, item, formats.JSON) as content:
        facts: dict[str, Any] = look.ask("documents", content, role="json").get("facts", {})
    return facts


def _of_config(config: dict[str, Any]) -> _Found:
    """Return the shape as config.json gives it, under the names that the families of models use."""
    numbers: dict[str, int] = config.get("config", {})

    def first(*names: str) -> int | None:
        return next((numbers[name] for name in names if numbers.get(name)), None)

    heads, width = first("num_attention_heads", "n_head"), first("hidden_size", "n_embd", "d_model")
    notes = [] if numbers else ["There is no config.json with a shape."]
    values = {
        "layers": first("num_hidden_layers", "n_layer", "num_layers"),
        "kv_heads": first("num_key_value_heads") or heads,
        "head_dim": first("head_dim") or (width // heads if width and heads else None),
        "max_context_tokens": first("max_position_embeddings", "n_positions", "max_sequence_length"),
    }
    if first("kv_lora_rank"):  # multi-head latent attention keeps no heads in its cache
        del values["kv_heads"], values["head_dim"]
        notes.append("The cache of this architecture is not counted by heads.")
    return _Found({name: value for name, value in values.items() if value}, "config.json", notes)


def _ggufs(files: dict[str, Pinned]) -> list[Pinned]:
    """Return the parts of the first model in GGUF files; what only reads pictures (mmproj) is none."""
    parts: dict[str, list[Pinned]] = {}
    for path, item in sorted(files.items()):
        if formats.role(path) == formats.GGUF and "mmproj" not in path:
            parts.setdefault(_PART.sub("", path), []).append(item)
    return next(iter(parts.values()), [])


def _of_gguf(look: Look, parts: list[Pinned]) -> _Found:
    elements = 0
    shape: dict[str, int] = {}
    for item in parts[:MOST_WEIGHTS]:
        with fetched(look.tree, item, formats.GGUF) as content:
            facts = look.gguf(item, content).get("facts", {})
        if "shape" not in facts:
            raise ProbeFailed(f"the header of {item.path} is damaged")
        elements += facts["elements"]
        shape = shape or {name: value for name, value in facts["shape"].items() if isinstance(value, int) and value}
    heads, width = shape.get("attention.head_count"), shape.get("embedding_length")
    values = {
        "parameters": elements,
        "layers": shape.get("block_count"),
        "kv_heads": shape.get("attention.head_count_kv") or heads,
        "head_dim": shape.get("attention.key_length") or (width // heads if width and heads else None),
        "max_context_tokens": shape.get("context_length"),
    }
    return _Found({name: value for name, value in values.items() if value}, parts[0].path, [])
