"""Which files a version may hold: by name, and what the first bytes say against it. An allow-list; docs/evidence.md
shows it to people.
"""

import re

# What is done with a file: the role that its name gives it.
SAFETENSORS, GGUF, JSON, TEXT, PROSE, TEMPLATE, SENTENCEPIECE, IMAGE = (
    "safetensors", "gguf", "json", "text", "prose", "template", "sentencepiece", "image",
)  # fmt: skip
PICKLE, ARCHIVE, PYTHON, PROGRAM, INERT, HAZARD, UNKNOWN = (
    "pickle", "archive", "python", "program", "inert", "hazard", "unknown",
)  # fmt: skip

_BY_ENDING = {
    SAFETENSORS: "safetensors",
    GGUF: "gguf",
    JSON: "json sigstore",
    TEXT: "jsonl txt text vocab merges bpe tiktoken yaml yml toml csv tsv svg cff sig asc pem pub crt sha256 sum",
    PROSE: "md rst",
    TEMPLATE: "jinja jinja2 j2",
    SENTENCEPIECE: "model spm",
    IMAGE: "png jpg jpeg gif webp ico",
    PICKLE: "bin pt pth ckpt pkl pickle pck joblib dill npy npz dat data th pdparams",
    ARCHIVE: "zip tar gz tgz bz2 tbz2 xz txz zst 7z rar whl egg jar nemo mar lz4 cab",
    PYTHON: "py pyi ipynb",
    PROGRAM: "so dll dylib exe pyd pyc pyo pyz sh bash bat cmd ps1 js mjs wasm class a o lib rb pl lua php msi com",
    INERT: "onnx onnx_data tflite msgpack pdf mp4 wav mp3 flac webm ot",  # data of other engines, and of cards
    HAZARD: "h5 hdf5 keras pb mlmodel mlpackage llamafile rdata rds mat t7 torchscript ptl engine plan trt",
}  # fmt: skip
_ROLES = {ending: role for role, endings in _BY_ENDING.items() for ending in endings.split()}
_BY_NAME = {
    TEXT: "gitattributes gitignore gitkeep vocab merges codeowners sha256sums dockerignore keep",
    PROSE: "license licence notice readme copying authors citation changelog security use_policy usage_policy policy",
    SENTENCEPIECE: "sentencepiece.bpe.model spiece.model",
}  # fmt: skip
_NAMES = {name: role for role, names in _BY_NAME.items() for name in names.split()}
_PROSE_NAME = re.compile(r"(license|licence|notice|readme|copying)([._-].*)?", re.IGNORECASE)

_MAGIC = (
    (b"\x7fELF", "an ELF program or library"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"\xca\xfe\xba\xbe", "a Java class or Mach-O program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xce\xfa\xed\xfe", "a Mach-O program"),
    (b"\0asm", "a WebAssembly program"),
    (b"#!", "a script"),
    (b"\x89PNG\r\n\x1a\n", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\0\0\x01\0", "a picture"),
    (b"%PDF-", "a PDF"),
)
_FITTING = {
    GGUF: {"a GGUF file"},
    IMAGE: {"a picture"},
    PICKLE: {"a pickle", "a zip archive", "a NumPy array"},
    ARCHIVE: {
        "a zip archive", "a gzip file", "a bzip2 file", "an xz file", "a zstandard file", "a 7z archive",
        "a rar archive", "a tar archive",
    },
    INERT: {"a PDF", ""},
}  # fmt: skip
ARCHIVES = _FITTING[ARCHIVE]


def role(path: str) -> str:
    """Return the role that the name of a file gives it."""
    name = path.rpartition("/")[2].lower()
    bare = name.lstrip(".")
    if bare in _NAMES:
        return _NAMES[bare]
    ending = bare.rpartition(".")[2] if "." in bare else ""
    if _PROSE_NAME.fullmatch(bare) and _ROLES.get(ending, PROSE) in {TEXT, PROSE}:
        return PROSE
    if bare.startswith("tokenizer.model"):  # also tokenizer.model.v3
        return SENTENCEPIECE
    if ending == "model" and not _tokenizer(bare):
        return UNKNOWN
    return _ROLES.get(ending, UNKNOWN)


def _tokenizer(name: str) -> bool:
    return "token" in name or "spiece" in name or "sentencepiece" in name or "bpe" in name or "vocab" in name


def sniff(beginning: bytes) -> str:
    """Return what the first 512 bytes say that a file is, or "" for what has no such mark."""
    for magic, title in _MAGIC:
        if beginning.startswith(magic):
            return title
    if beginning[:1] == b"\x80" and beginning[1:2] <= b"\x05" and len(beginning) > 1:
        return "a pickle"
    if beginning[:2] == b"MZ" and b"\0" in beginning[:64]:
        return "a Windows program"
    if beginning[257:262] == b"ustar":
        return "a tar archive"
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "a picture"
    return ""


def contradicts(role: str, mark: str) -> bool:
    """Whether the first bytes say something else than the name of the file."""
    if role in {PROGRAM, PYTHON, HAZARD, UNKNOWN}:
        return False  # judged by themselves
    if role in _FITTING:
        return (bool(mark) and mark not in _FITTING[role]) or (not mark and role in {IMAGE, GGUF})
    return bool(mark)
