"""The header of a safetensors file, read strictly: 8 bytes of length, a JSON object, and data that it describes to the
last byte. Only the header is read, however large the file.
"""

from collections import Counter
from typing import IO, Any

from catalog.probes.findings import Findings, Stop, shown
from catalog.probes.strict_json import loads

HEADER_BYTES = 100 * 10**6  # what the library itself takes at most
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
# Several values stand in one element of these: their count says nothing about the model's parameters.
_PACKED = (".qweight", ".weight_packed", "_blocks", ".qzeros", ".absmax", ".quant_map", ".g_idx")


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return the findings about a file of question["size"] bytes of which `content` holds the beginning."""
    found = Findings()
    try:
        return found.answer(**_read(content, int(question["size"])))
    except Stop as stop:
        found.fail(str(stop))
        return found.answer()


def _read(content: IO[bytes], size: int) -> dict[str, Any]:
    first = content.read(8)
    if len(first) < 8:
        raise Stop(f"it ends after {len(first)} bytes, before the length of its header")
    length = int.from_bytes(first, "little")
    if length > HEADER_BYTES:
        raise Stop(f"its header claims {length:,} bytes; the limit is {HEADER_BYTES:,}")
    if 8 + length > size:
        raise Stop(f"its header claims {length:,} bytes, but the file has only {size:,}")
    raw = content.read(length)
    if len(raw) < length:
        raise Stop(f"its header claims {length:,} bytes, but only {len(raw):,} of them are there")
    if raw[:1] != b"{":
        raise Stop("its header is not a JSON object")
    header = loads(raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Stop("its __metadata__ holds something else than text")
    spans = [(*_span(name, info), name) for name, info in header.items()]
    _lie_in_order(spans, size - 8 - length)
    dtypes: Counter[str] = Counter()
    for info in header.values():
        dtypes[info["dtype"]] += _elements(info["shape"])
    return {
        "tensors": len(header),
        "elements": sum(dtypes.values()),
        "dtypes": dict(dtypes),
        "packed": any(name.endswith(_PACKED) for name in header),
        "metadata": sorted(shown(name) for name in metadata)[:20],
    }


def _elements(shape: list[int]) -> int:
    count = 1
    for side in shape:
        count *= side
        if count > 2**63:
            raise Stop("a tensor has more elements than any machine counts")
    return count


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _span(name: str, info: object) -> tuple[int, int]:
    """Return where the data of a tensor begins and ends. Raises Stop when that is not what its shape takes."""
    title = f"tensor “{shown(name)}”"
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise Stop(f"{title} has not exactly dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise Stop(f"{title} has the unknown dtype {shown(dtype, 40)}")
    if not isinstance(shape, list) or not all(_whole(side) for side in shape):
        raise Stop(f"{title} has a shape that is no list of whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_whole(offset) for offset in offsets):
        raise Stop(f"{title} has offsets that are no two whole numbers")
    start, end = offsets
    bits = _elements(shape) * BITS[dtype]
    if bits % 8 or end - start != bits // 8:
        raise Stop(f"{title} takes {bits // 8:,} bytes by its shape and {end - start:,} by its offsets")
    return start, end


def _lie_in_order(spans: list[tuple[int, int, str]], data: int) -> None:
    """Raise Stop unless the tensors fill the data without a hole or an overlap."""
    at = 0
    for start, end, name in sorted(spans):
        if start != at:
            what = "overlaps the one before it" if start < at else "leaves a hole before it"
            raise Stop(f"tensor “{shown(name)}” {what} (byte {start:,} of the data)")
        at = end
    if at != data:
        what = "more than the file has" if at > data else "and the rest belongs to none"
        raise Stop(f"its tensors take {at:,} of {data:,} bytes of data, {what}")
