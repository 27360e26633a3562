"""Embeddings without a network: hashed words, word pairs and letter triples, signed, summed and normalised.

Texts that share words are near each other, the same text gives the same vector on every machine; there is no more to
it.
"""

import base64
import math
from array import array
from collections.abc import Iterator, Sequence
from zlib import crc32


def embed(tokens: Sequence[str], dimensions: int) -> list[float]:
    """Return a vector of length 1 (or zeros for a text without words) with `dimensions` numbers."""
    vector = [0.0] * dimensions
    for feature, weight in _features(tokens):
        code = crc32(feature.encode("utf-8", "surrogatepass"))
        vector[(code >> 1) % dimensions] += weight if code & 1 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector


def pack(vector: Sequence[float]) -> str:
    """Return the vector as base64 of little-endian 32-bit floats: what OpenAI's clients ask for by default."""
    packed = array("f", vector)
    if packed.itemsize != 4:  # pragma: no cover - no such platform is supported
        raise ValueError("This machine has no 32-bit float")
    return base64.b64encode(packed.tobytes()).decode("ascii")


def _features(tokens: Sequence[str]) -> Iterator[tuple[str, float]]:
    previous = ""
    for token in tokens:
        word = token.strip().lower()
        if not word:
            continue
        yield word, 1.0
        if previous:
            yield f"{previous} {word}", 0.5
        for start in range(len(word) - 2):
            yield f"#{word[start : start + 3]}", 0.25
        previous = word
