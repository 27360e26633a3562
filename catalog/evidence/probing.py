"""Having the files of a version looked at: what is read of each, and which probe reads it."""

import os
from dataclasses import dataclass, field
from typing import IO, Any

from catalog.evidence import reading, sandbox
from catalog.evidence.reading import Pinned
from catalog.evidence.sandbox import Limits
from catalog.probes import formats
from catalog.sources.tree import Tree

WHOLE_BYTES = 128 * 2**20  # of a document that is read whole
SCAN_BYTES = 2 * 2**30  # of a pickle or an archive
HEADER_BYTES = 100 * 10**6  # of a safetensors header, as its library has it
GGUF_BYTES = (16 * 2**20, 128 * 2**20)  # of a GGUF header: the first try, and the most
SNIFF_BYTES = 512
LIMITS = Limits()
# Their names alone decide, so no more than the beginning is fetched.
BY_NAME = {formats.PROGRAM, formats.HAZARD, formats.INERT, formats.PYTHON}


@dataclass
class Look:
    """What is being found out about the files of one version, and whether its probes had a network."""

    tree: Tree
    networks: set[str] = field(default_factory=set)

    def ask(self, probe: str, content: IO[bytes], **question: Any) -> dict[str, Any]:
        """Return what a probe says. Raises ProbeFailed."""
        answer = sandbox.ask(probe, content, question, LIMITS)
        self.networks.add(answer.network)
        return answer.body

    def safetensors(self, item: Pinned, content: IO[bytes]) -> dict[str, Any]:
        """Return what the header of a file says. Raises ProbeFailed."""
        return self.ask("safetensors", content, size=item.bytes)

    def gguf(self, item: Pinned, content: IO[bytes]) -> dict[str, Any]:
        """Return what the header of a file says; more of the file is fetched when it goes on. Raises ProbeFailed, and
        SourceError.
        """
        given = content.seek(0, os.SEEK_END)
        answer = self.ask("gguf", content, size=item.bytes, given=given)
        if answer.get("more"):
            content.seek(given)
            given = reading.beginning(self.tree, item, GGUF_BYTES[1], content, given)
            answer = self.ask("gguf", content, size=item.bytes, given=given)
        if answer.get("more"):
            return {"findings": [["fail", f"its header takes more than {GGUF_BYTES[1]:,} bytes"]], "facts": {}}
        return answer

    def isolation(self) -> dict[str, str]:
        """Return how the probes ran, for the report."""
        return {"process": "own", "network": "removed" if self.networks <= {"removed"} else "shared"}


def fetched(tree: Tree, item: Pinned, role: str) -> IO[bytes]:
    """Return what is looked at of a file: all of it, hashed, or the beginning of large weights and of what no content
    could save. Raises Changed, and SourceError.
    """
    most = SCAN_BYTES if role in {formats.PICKLE, formats.ARCHIVE} else WHOLE_BYTES
    if item.bytes <= most and role not in BY_NAME:
        target = reading.whole(tree, item)
    else:
        target = sandbox.scratch()
        count = reading.beginning(tree, item, SNIFF_BYTES, target)
        target.seek(0)
        length = int.from_bytes(target.read(8), "little")
        target.seek(count)
        if role == formats.SAFETENSORS and length <= HEADER_BYTES:  # else the probe says what is wrong with it
            reading.beginning(tree, item, 8 + length, target, count)
        elif role == formats.GGUF:
            reading.beginning(tree, item, GGUF_BYTES[0], target, count)
    target.seek(0)
    return target
