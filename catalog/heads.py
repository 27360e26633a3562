"""Which beginning of large weights stands for the whole when they are looked at. Where it ends is worked out while the
file is hashed, so that its digest is of the very bytes that were pinned.
"""

from collections.abc import Sequence

from catalog.probes import formats

WHOLE_BYTES = 128 * 2**20  # of a document that is read whole
SNIFF_BYTES = 512
HEADER_BYTES = 100 * 10**6  # of a safetensors header, as its library has it
GGUF_BYTES = (16 * 2**20, 128 * 2**20)  # of a GGUF header: the first try, and the most
LENGTH_BYTES = 8  # of the length with which a safetensors file begins


def needed(path: str, size: int) -> bool:
    """Whether only the beginning of a file is looked at, and says what the file is."""
    return size > WHOLE_BYTES and formats.role(path) in {formats.SAFETENSORS, formats.GGUF}


def ends(path: str, first: bytes) -> Sequence[int]:
    """Return where the beginnings end that are looked at, ascending; `first` are the LENGTH_BYTES of the file."""
    return GGUF_BYTES if formats.role(path) == formats.GGUF else (end(int.from_bytes(first, "little")),)


def end(length: int) -> int:
    """Return where the beginning of a safetensors file ends whose header claims `length` bytes; of a claim that no
    library takes no more is read than to see it.
    """
    return max(SNIFF_BYTES, LENGTH_BYTES + length) if length <= HEADER_BYTES else SNIFF_BYTES
