"""Artefacts that a catalog is offered, malicious and benign; docs/artefacts.md shows what the checks say about them.

./manage.py shell -c "from tests.catalog import artefacts; artefacts.write()"      writes it anew; a test compares it
"""

import gzip
import io
import json
import pickle
import struct
import tarfile
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.evidence import files
from tests.catalog import content_kit

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "artefacts.md"


@dataclass(frozen=True)
class Artefact:
    """What is put into a directory that is harmless otherwise, and whether that makes it malicious."""

    title: str
    path: str
    malicious: bool
    write: Callable[[Path], None]
    command: tuple[str, ...] = tuple(content_kit.COMMAND)


class Gadget:
    """An object whose pickle calls `target(*arguments)` when it is loaded. Never loaded here."""

    def __init__(self, target: str, *arguments: Any) -> None:
        self.target, self.arguments = target, arguments


def gadget(target: str, *arguments: Any, protocol: int = 4) -> bytes:
    """The pickle that calls `target` (module:name), put together by hand: nothing is imported for it."""
    module, _, name = target.partition(":")
    inside = pickle.dumps(arguments, protocol=2)[2:-1]  # without PROTO and STOP
    if protocol < 4:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + inside + b"R."
    return b"\x80\x04" + _text(module) + _text(name) + b"\x93" + inside + b"R."


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def torch_zip(data: bytes, **others: bytes) -> bytes:
    """An archive as PyTorch writes it: data.pkl, raw storages, version."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", b"\0" * 4096)
        archive.writestr("archive/version", b"3\n")
        for name, content in others.items():
            archive.writestr(name, content)
    return made.getvalue()


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tar_of(name: str, content: bytes = b"x", *, link: str = "") -> bytes:
    """A tar archive with one file or symbolic link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        item = tarfile.TarInfo(name)
        item.size = 0 if link else len(content)
        if link:
            item.type, item.linkname = tarfile.SYMTYPE, link
        archive.addfile(item, None if link else io.BytesIO(content))
    return made.getvalue()


def overlapping_zip() -> bytes:
    """A bomb whose files share their bytes: no single one is compressed by much."""
    raw = bytearray(zip_of({"a.txt": b"0" * 100_000, "b.txt": b"0" * 100_000}))
    first = raw.find(b"PK\x01\x02")
    second = raw.find(b"PK\x01\x02", first + 4)
    raw[second + 42 : second + 46] = struct.pack("<I", 0)  # the second one begins where the first one does
    return bytes(raw)


def safetensors(header: bytes, data: bytes = b"", *, claims: int | None = None) -> bytes:
    """A safetensors file with any header."""
    return struct.pack("<Q", len(header) if claims is None else claims) + header + data


def tensor(start: int, end: int, shape: list[int], dtype: str = "U8") -> dict[str, Any]:
    """A tensor of a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def gguf_header(*, tensors: int = 0, keys: int = 0, body: bytes = b"") -> bytes:
    """The beginning of a GGUF file with any counts."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + body


def raw(content: bytes) -> Callable[[Path], None]:
    """Write these bytes."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def jsoned(value: Any) -> Callable[[Path], None]:
    """Write this value as JSON."""
    return raw(json.dumps(value).encode())


OVERLAP = json.dumps({"a": tensor(0, 8, [8]), "b": tensor(4, 12, [8])}).encode()
FOUR_GIB = struct.pack("<Q", 2**32) + b"\0" * 36
TRUST = (*content_kit.COMMAND, "--trust-remote-code")
MALICIOUS: list[tuple[str, str, Callable[[Path], None]]] = [
    ("Pickle that runs a shell command", "pytorch_model.bin", raw(gadget("posix:system", "id"))),
    ("The same in an archive of PyTorch", "adapter.pt", raw(torch_zip(gadget("os:system", "id")))),
    ("Pickle that evaluates Python", "model.pkl", raw(gadget("builtins:eval", "1+1", protocol=2))),
    ("Pickle with an import that no list knows", "vectors.pkl", raw(gadget("some_module:load", "x"))),
    ("Pickle under the name of a tokenizer", "tokenizer.model", raw(gadget("subprocess:Popen", ["id"]))),
    ("Pickle of the old text protocol named as JSON", "generation_config.json", raw(b"cposix\nsystem\n(S'id'\ntR.")),
    ("Pickle named as safetensors", "adapter_model.safetensors", raw(gadget("runpy:run_path", "/tmp/x"))),
    ("Damaged pickle after a dangerous import", "state.pth", raw(gadget("posix:system", "id")[:-1] + b"\xff")),
    ("safetensors whose header claims 8 EiB", "model-2.safetensors", raw(safetensors(b"{}", claims=2**63))),
    ("safetensors whose tensors lie over each other", "model-3.safetensors", raw(safetensors(OVERLAP, b"\0" * 12))),
    ("safetensors with bytes that belong to no tensor", "model-4.safetensors", raw(safetensors(b"{}", b"\x7fELF" * 8))),
    ("GGUF that claims 2⁶⁰ keys", "tiny.gguf", raw(gguf_header(keys=2**60))),
    ("GGUF with a key of 4 GiB in 64 bytes", "tiny.gguf", raw(gguf_header(keys=1, body=FOUR_GIB))),
    (
        "GGUF whose chat template reaches for Python", "tiny.gguf",
        lambda path: content_kit.write_gguf(path, template="{{ ''.__class__.__mro__ }}"),
    ),
    (
        "Chat template with a computed attribute", "chat_template.jinja",
        raw(b"{{ messages|attr('\\x5f\\x5fclass\\x5f\\x5f') }}"),
    ),
    ("Chat template that never ends", "chat_template.jinja", raw(b"{% for i in range(999999999) %}x{% endfor %}")),
    ("Archive bomb", "data.zip", raw(zip_of({"zeros.txt": b"\0" * 50_000_000}))),
    ("Archive bomb of files that overlap", "data.zip", raw(overlapping_zip())),
    ("Compressed bomb", "data.tar.gz", raw(gzip.compress(b"\0" * 60_000_000))),
    ("Archive that writes outside its directory", "data.zip", raw(zip_of({"../../etc/cron.d/x.txt": b"x"}))),
    ("Archive with a link out of its directory", "data.tar.gz", raw(tar_of("weights.txt", link="/etc/passwd"))),
    ("Archive in an archive", "data.zip", raw(zip_of({"inner.zip": zip_of({"a.txt": b"x"})}))),
    ("Library under the name of a tokenizer", "tokenizer.model", raw(b"\x7fELF\x02\x01\x01" + b"\0" * 200)),
    ("Shared library", "kernels/fast.so", raw(b"\x7fELF\x02\x01\x01" + b"\0" * 200)),
    ("Zip archive named as GGUF", "tiny.gguf", raw(zip_of({"a.txt": b"x"}))),
    ("JSON nested 200,000 deep", "config.json", raw(b"[" * 200_000 + b"]" * 200_000)),
    ("Keras file that can carry code", "tf_model.h5", raw(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)),
]  # fmt: skip
CODE = Artefact(
    "Python of the model, run by its engine", "modeling_tiny.py", True, raw(b"import os\nos.system('id')\n"), TRUST
)
BENIGN: list[tuple[str, str, Callable[[Path], None]]] = [
    ("safetensors of the library", "second.safetensors", content_kit.write_safetensors),
    ("GGUF of the library, with a chat template", "tiny.gguf", content_kit.write_gguf),
    ("Chat template in a file of its own", "chat_template.jinja", raw(content_kit.TEMPLATE.encode())),
    ("Vocabulary and merges", "merges.txt", raw(b"#version: 0.2\nt h\nth e\n")),
    ("Picture of the README", "images/logo.png", raw(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)),
    (
        "Weights of PyTorch without a dangerous import", "pytorch_model.bin",
        raw(torch_zip(pickle.dumps(OrderedDict(a=1), 2))),
    ),
    ("Python that the engine is not told to run", "modeling_tiny.py", raw(b"class Tiny: ...\n")),
    ("Archive of text", "data.zip", raw(zip_of({"a.txt": b"x", "b/c.json": b"{}"}))),
    ("ONNX export beside the weights", "onnx/model.onnx", raw(b"\x08\x07\x12\x04test" + b"\0" * 64)),
]  # fmt: skip
ARTEFACTS = [
    *(Artefact(title, path, True, write) for title, path, write in MALICIOUS),
    CODE,
    *(Artefact(title, path, False, write) for title, path, write in BENIGN),
]


def judged(artefact: Artefact, folder: Path) -> tuple[str, str]:
    """Return the verdict of the file check about a model with this artefact, and its sentence."""
    content_kit.write_weights(folder)
    target = folder / artefact.path
    target.parent.mkdir(parents=True, exist_ok=True)
    artefact.write(target)
    case = content_kit.case_of(folder, runtime={"engine": "vllm", "command": list(artefact.command)})
    finding = files.check(case)
    return finding.verdict.value, finding.summary


def document() -> str:
    """Return docs/artefacts.md."""
    lines = [
        "# What the file check says",
        "",
        "Each artefact is added to a small model directory that passes by itself. Written by",
        '`./manage.py shell -c "from tests.catalog import artefacts; artefacts.write()"`; a test compares it with what',
        "the check says today.",
        "What the verdicts mean: [evidence.md](evidence.md).",
        "",
    ]
    for title, malicious in (("Malicious", True), ("Benign", False)):
        lines += [f"## {title}", "", "| artefact | file | verdict | reason |", "| --- | --- | --- | --- |"]
        for artefact in ARTEFACTS:
            if artefact.malicious == malicious:
                with tempfile.TemporaryDirectory() as folder:
                    verdict, reason = judged(artefact, Path(folder))
                reason = reason.replace("|", "\\|")
                lines.append(f"| {artefact.title} | `{artefact.path}` | {verdict} | {reason} |")
        lines.append("")
    return "\n".join(lines)


def write() -> None:
    """Write docs/artefacts.md."""
    DOCUMENT.write_text(document(), encoding="utf-8")
