"""Having the files of a version looked at: what is read of each, and which probe reads it."""

import os
from dataclasses import dataclass, field
from typing import IO, Any

from catalog.evidence import reading, sandbox
from catalog.evidence.reading import Pinned
from catalog.evidence.sandbox import Limits
from catalog.heads import GGUF_BYTES, LENGTH_BYTES, SNIFF_BYTES, WHOLE_BYTES, end
from catalog.probes import formats
from catalog.sources.tree import Tree

SCAN_BYTES = 2 * 2**30  # of a pickle or an archive
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
            reading.agree(item, content)
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
        try:
            _begin(tree, item, role, target)
        except BaseException:
            target.close()
            raise
    target.seek(0)
    return target


def _begin(tree: Tree, item: Pinned, role: str, target: IO[bytes]) -> None:
    """Write into `target` what of a file says what it is, and compare it with what was hashed when it was pinned."""
    count = reading.beginning(tree, item, SNIFF_BYTES, target)
    if role == formats.SAFETENSORS:
        target.seek(0)
        length = int.from_bytes(target.read(LENGTH_BYTES), "little")
        target.seek(count)
        reading.beginning(tree, item, end(length), target, count)  # the probe says what is wrong with a length
    elif role == formats.GGUF:
        reading.beginning(tree, item, GGUF_BYTES[0], target, count)
    reading.agree(item, target)
