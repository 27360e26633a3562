"""Content for the checks of evidence: a directory becomes a case with its pin, without a database."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import save_file

from catalog.evidence.case import Case
from catalog.models import Asset, Pin, PinState, Version
from catalog.sources.directory import DirectoryTree

COMMAND = ["vllm", "serve", "{model}", "--port", "{port}"]
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
TEMPLATE = (
    "{%- for message in messages %}{{ '<|' + message['role'] + '|>' }}\n{{ message.content | trim }}\n{%- endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
)


def pin_of(folder: Path) -> Pin:
    """The pin of what lies in `folder` now."""
    files = [
        {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    digest = "sha256:" + hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return Pin(state=PinState.RESOLVED, digest=digest, files=files, total_bytes=sum(item["bytes"] for item in files))


def case_of(folder: Path, *, pin: Pin | None = None, **fields: Any) -> Case:
    """A case about `folder`, pinned as it is now unless a pin is given."""
    runtime = {"engine": "vllm", "command": COMMAND}
    version = Version(
        asset=Asset(slug="tiny", kind="model"), source=f"file://{folder}", **({"runtime": runtime} | fields)
    )
    return Case(version, pin or pin_of(folder), lambda: DirectoryTree(folder, []))


def write_safetensors(path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Two layers of a tiny Llama, written by the library: 512 × 64 + 2 × (64 × 64 + 64) = 41,088 parameters."""
    tensors: dict[str, Any] = {"model.embed_tokens.weight": np.zeros((512, 64), dtype=np.float16)}
    for layer in range(2):
        tensors[f"model.layers.{layer}.mlp.weight"] = np.zeros((64, 64), dtype=np.float16)
        tensors[f"model.layers.{layer}.norm.weight"] = np.ones(64, dtype=np.float16)
    save_file(tensors, path, metadata=metadata or {"format": "pt"})


def write_gguf(path: Path, *, template: str = TEMPLATE) -> None:
    """The same model, written by the library of GGUF."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_chat_template(template)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"token{number}" for number in range(3000)])
    writer.add_tensor("token_embd.weight", np.zeros((512, 64), dtype=np.float16))
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.ffn.weight", np.zeros((64, 64), dtype=np.float32))
        writer.add_tensor(f"blk.{layer}.norm.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_weights(folder: Path) -> Path:
    """The least that is a model: weights and their configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLAMA))
    return folder


def write_model(folder: Path) -> Path:
    """A whole, harmless model directory."""
    write_weights(folder)
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"vocab": {"a": 0}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (folder / "README.md").write_text("# Tiny\n\nFor tests.\n")
    (folder / "LICENSE").write_text("MIT License\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return folder


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
