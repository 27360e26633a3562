"""The header of a GGUF file, read strictly: every count and length is held against the size of the file before anything
is read by it. Only the header is read, however large the file.
"""

import struct
from typing import IO, Any

from catalog.probes import templates
from catalog.probes.findings import Findings, Stop, shown

MOST_KEYS, MOST_TENSORS, MOST_DIMENSIONS, MOST_NESTING = 10_000, 1_000_000, 4, 2
KEY_BYTES, STRING_BYTES, NAME_BYTES = 65_535, 16 * 2**20, 128
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Type of a tensor → (elements, bytes) of a block, as ggml lays them out.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
_KEPT = (
    "block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv",
    "attention.key_length",
)  # fmt: skip


class _More(Exception):
    """The header goes on behind what was given."""


class _Reader:
    """The beginning of the file, and how far it is read."""

    def __init__(self, content: IO[bytes], size: int, given: int) -> None:
        self.content, self.size, self.given, self.at = content, size, given, 0

    def take(self, count: int, what: str) -> bytes:
        if self.at + count > self.size:
            raise Stop(f"{what} takes {count:,} bytes, but the file ends {self.size - self.at:,} bytes after its start")
        if self.at + count > self.given:
            raise _More
        self.at += count
        return self.content.read(count)

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize(code), what))[0]

    def text(self, what: str, most: int) -> str:
        length = self.number("Q", f"the length of {what}")
        if length > min(most, self.size):
            raise Stop(f"{what} claims {length:,} bytes; the limit is {min(most, self.size):,}")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Stop(f"{what} is not UTF-8") from error

    def skip(self, kind: int, count: int, what: str) -> None:
        """Pass over `count` values of an array."""
        if kind in _NUMBERS:
            self.take(count * struct.calcsize(_NUMBERS[kind]), what)
            return
        for _ in range(count):
            length = self.number("Q", f"a length in {what}")
            if length > self.size:
                raise Stop(f"a string in {what} claims {length:,} bytes; the file has {self.size:,}")
            self.take(length, what)


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return the findings about a file of question["size"] bytes of which `content` holds the first
    question["given"]; {"more": true} when its header goes on behind them.
    """
    found = Findings()
    try:
        return found.answer(**_read(_Reader(content, int(question["size"]), int(question["given"])), found))
    except _More:
        return {"more": True}
    except Stop as stop:
        found.fail(str(stop))
        return found.answer()


def _read(reader: _Reader, found: Findings) -> dict[str, Any]:
    if reader.take(4, "its magic") != b"GGUF":
        raise Stop("it does not begin with GGUF")
    version = reader.number("I", "its version")
    if version not in {2, 3}:
        raise Stop(f"its version is {version}; versions 2 and 3 (little-endian) are read here")
    tensors, keys = reader.number("Q", "its number of tensors"), reader.number("Q", "its number of keys")
    if tensors > MOST_TENSORS or tensors * 24 > reader.size:
        raise Stop(f"it claims {tensors:,} tensors, more than the file can hold or a model has")
    if keys > MOST_KEYS or keys * 13 > reader.size:
        raise Stop(f"it claims {keys:,} keys, more than the file can hold or a model has")
    values: dict[str, Any] = {}
    for _ in range(keys):
        name = reader.text("the name of a key", KEY_BYTES)
        if name in values:
            raise Stop(f"the key “{shown(name)}” stands there twice")
        values[name] = _value(reader, reader.number("I", "the type of a value"), f"“{shown(name)}”", 0)
    for name, value in values.items():
        if name.startswith("tokenizer.chat_template") and isinstance(value, str):
            templates.judge(value, name, found)
    elements = _tensors(reader, tensors, _alignment(values.get("general.alignment", 32)))
    family = values.get("general.architecture")
    kept = {name: values.get(f"{family}.{name}") for name in _KEPT}
    return {
        "version": version,
        "tensors": tensors,
        "elements": elements,
        "architecture": shown(family) if isinstance(family, str) else "",
        "shape": {name: value for name, value in kept.items() if isinstance(value, int | list)},
    }


def _value(reader: _Reader, kind: int, what: str, depth: int) -> Any:
    """Return a value; of arrays only short ones of numbers, None for the others."""
    if kind in _NUMBERS:
        return reader.number(_NUMBERS[kind], what)
    if kind == _STRING:
        return reader.text(what, STRING_BYTES)
    if kind != _ARRAY:
        raise Stop(f"{what} has the unknown type {kind}")
    if depth >= MOST_NESTING:
        raise Stop(f"{what} nests arrays deeper than {MOST_NESTING}")
    inner, count = reader.number("I", what), reader.number("Q", what)
    least = struct.calcsize(_NUMBERS[inner]) if inner in _NUMBERS else 8
    if count * least > reader.size:
        raise Stop(f"{what} claims {count:,} values, more than the file can hold")
    if inner == _ARRAY:
        for _ in range(count):
            _value(reader, _ARRAY, what, depth + 1)
        return None
    if inner in _NUMBERS and count <= 2000:
        return [reader.number(_NUMBERS[inner], what) for _ in range(count)]
    if inner not in _NUMBERS and inner != _STRING:
        raise Stop(f"{what} has values of the unknown type {inner}")
    reader.skip(inner, count, what)
    return None


def _alignment(value: object) -> int:
    if not isinstance(value, int) or not 8 <= value <= 2**20 or value & (value - 1):
        raise Stop(f"its alignment is {shown(value, 40)}; it must be a power of two from 8 to 1,048,576")
    return value


def _tensors(reader: _Reader, count: int, alignment: int) -> int:
    """Return how many elements the tensors have, after holding their places against the file."""
    spans: list[tuple[int, int, str]] = []
    elements, names = 0, set()
    for _ in range(count):
        name = reader.text("the name of a tensor", NAME_BYTES)
        if name in names:
            raise Stop(f"tensor “{shown(name)}” stands there twice")
        names.add(name)
        size, start, length = _place(reader, f"tensor “{shown(name)}”", alignment)
        elements += size
        spans.append((start, start + length, name))
    data = -(-reader.at // alignment) * alignment
    end = 0
    for start, stop, name in sorted(spans):
        if start < end:
            raise Stop(f"tensor “{shown(name)}” overlaps the one before it")
        if data + stop > reader.size:
            raise Stop(f"tensor “{shown(name)}” ends at byte {data + stop:,}, but the file has only {reader.size:,}")
        end = stop
    if spans and reader.size - data - end > alignment:
        raise Stop(f"{reader.size - data - end:,} bytes behind the last tensor belong to none")
    return elements


def _place(reader: _Reader, what: str, alignment: int) -> tuple[int, int, int]:
    """Return the elements of a tensor, where its data begins and how many bytes it takes."""
    dimensions = reader.number("I", what)
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise Stop(f"{what} has {dimensions} dimensions; the limit is {MOST_DIMENSIONS}")
    sides = [reader.number("Q", what) for _ in range(dimensions)]
    kind, start = reader.number("I", what), reader.number("Q", what)
    if kind not in BLOCKS:
        raise Stop(f"{what} has the unknown type {kind}")
    size = 1
    for side in sides:
        size *= side
    block, room = BLOCKS[kind]
    if size % block or size // block * room > reader.size:
        raise Stop(f"{what} takes more than the file holds, or no whole blocks")
    if start % alignment:
        raise Stop(f"{what} begins at byte {start:,}, which is no multiple of {alignment}")
    return size, start, size // block * room
