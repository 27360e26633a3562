"""Small files that are read whole: JSON, text, chat templates, sentencepiece models, images."""

import pickletools
import zipfile
from typing import IO, Any

from catalog.probes import templates
from catalog.probes.findings import Findings, Stop, shown
from catalog.probes.strict_json import loads

_WIRE = {0, 1, 2, 5}  # ways in which a protobuf field is written
_KEPT = (
    "num_hidden_layers", "n_layer", "num_layers", "num_key_value_heads", "num_attention_heads", "n_head", "head_dim",
    "hidden_size", "n_embd", "d_model", "max_position_embeddings", "n_positions", "max_sequence_length",
    "kv_lora_rank", "num_local_experts",
)  # fmt: skip


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return the findings about a whole file; question["role"] says what its name promises."""
    found = Findings()
    raw = content.read()
    facts: dict[str, Any] = {}
    try:
        role = question["role"]
        _disguised(content, raw, text=role != "binary" and role != "sentencepiece", found=found)
        if role == "json":
            facts = _json(loads(raw), found)
        elif role == "sentencepiece" and raw[:1] == b"\n":
            _protobuf(raw)
        elif role != "binary":
            _text(raw, role, found)
    except Stop as stop:
        found.fail(str(stop))
    return found.answer(**facts)


def _disguised(content: IO[bytes], raw: bytes, *, text: bool, found: Findings) -> None:
    """Look for a pickle of the old text protocols, and for an archive that is appended to something else."""
    content.seek(0)
    if zipfile.is_zipfile(content):
        found.fail("a zip archive is hidden in it")
    if text and is_pickle(raw):
        found.fail("it is a pickle by its content")


def is_pickle(raw: bytes) -> bool:
    """Whether `raw` is a pickle from its first byte that imports or calls something."""
    acts = False
    try:
        for opcode, _, _ in pickletools.genops(raw[: 4 * 2**20]):
            acts = acts or opcode.name in {"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "OBJ", "NEWOBJ", "BUILD"}
    except Exception:  # whatever pickletools stumbles over is no pickle that could be loaded
        return False
    return acts


def _text(raw: bytes, role: str, found: Findings) -> None:
    if b"\0" in raw:
        raise Stop("it holds bytes that no text has")  # a tokenizer.model of the other family is text too
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Stop(f"it is not UTF-8 (byte {error.start:,})") from error
    if role == "template":
        templates.judge(text, "", found)
    elif role == "prose":
        seen = Findings()
        templates.hidden(text, "it", seen)
        for _, sentence in seen.found:
            found.warn(sentence)  # read by people, not by an engine


def _json(value: Any, found: Findings) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    template = value.get("chat_template")
    for title, text in _templates(template):
        templates.judge(text, title, found)
    facts: dict[str, Any] = {
        "remote_code": _code(value),
        "config": _config(value),
        "architectures": [shown(item) for item in value.get("architectures") or [] if isinstance(item, str)][:5]
        if isinstance(value.get("architectures"), list)
        else [],
        "quantized": "quantization_config" in value,
    }
    shards = value.get("weight_map")
    if isinstance(shards, dict):
        names = sorted({str(item) for item in shards.values()})
        facts["shards"], facts["tensors"] = names[:5000], len(shards)
    return facts


def _templates(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [("", value)]
    if isinstance(value, dict):
        return [(str(name), text) for name, text in value.items() if isinstance(text, str)]
    if not isinstance(value, list):
        return []
    return [
        (str(item.get("name")), item["template"])
        for item in value
        if isinstance(item, dict) and isinstance(item.get("template"), str)
    ]


def _code(value: dict[str, Any]) -> list[str]:
    """Return what makes an engine that trusts remote code run Python of the model, or of another one."""
    said = []
    for part in (value, *(item for item in value.values() if isinstance(item, dict))):
        for key in ("auto_map", "custom_pipelines"):
            if part.get(key):
                said.append(f"{key}: {shown(part[key], 100)}")
        if part.get("trust_remote_code"):
            said.append("trust_remote_code is set")
    return said[:10]


def _config(value: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of the shape; a model of several kinds keeps those of its text part in text_config."""
    inner = value.get("text_config")
    both = {**value, **inner} if isinstance(inner, dict) else value
    return {
        key: both[key]
        for key in _KEPT
        if isinstance(both.get(key), int) and not isinstance(both[key], bool) and 0 <= both[key] < 2**53
    }


def _protobuf(raw: bytes) -> None:
    """Raise Stop unless `raw` is a sentencepiece model: protobuf fields to the last byte, pieces first."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        kind = key & 7
        if kind not in _WIRE or not key >> 3:
            raise Stop(f"it is no sentencepiece model (byte {at:,})")
        if kind == 0:
            _, at = _varint(raw, at)
        elif kind == 2:
            length, at = _varint(raw, at)
            at += length
        else:
            at += 8 if kind == 1 else 4
    if at != len(raw):
        raise Stop("it is no sentencepiece model: its last field goes beyond its end")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(raw):
            raise Stop("it is no sentencepiece model: it ends within a field")
        value |= (raw[at + place] & 127) << (7 * place)
        if raw[at + place] < 128:
            return value, at + place + 1
    raise Stop("it is no sentencepiece model: a number in it does not end")
