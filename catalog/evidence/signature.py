"""Signature check: did somebody whom this installation trusts sign exactly the pinned files?

A signature of OpenSSF model signing says itself which files it passes over, and its verifier believes it. Here it may
pass over nothing that is served: every pinned file must be named with its digest, except the signature and two files
that only git reads, and those are hashed against the pin.
"""

import hashlib
from collections.abc import Callable
from importlib.metadata import version as version_of
from typing import IO, Any

from blake3 import blake3
from django.conf import settings

from catalog.evidence import attachments, reading, sandbox, trust
from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.evidence.reading import Changed, Pinned
from catalog.evidence.sandbox import ProbeFailed
from catalog.models import Verdict, Version
from catalog.sources.tree import Tree

KIND, TITLE, CONTENT, DAYS = "signature", "Signature", True, None
TOOL = f"model-signing {version_of('model-signing')}, sigstore {version_of('sigstore')}"
SIGNATURE_BYTES = 16 * 2**20
MOST_SIGNATURES, MOST_NAMES = 5, 20
IGNORABLE = {".git", ".github", ".gitignore", ".gitattributes"}  # what a signature may pass over
UNCOVERED = {".gitattributes", ".gitignore"}  # and what of it may be there all the same: nothing loads it
_HASHES: dict[str, Callable[[], Any]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b, "blake3": blake3}


def applies(version: Version) -> bool:
    """Content can be signed."""
    return has_content(version)


def check(case: Case) -> Finding:
    """Judge the signatures that lie beside the files or were added: one that holds is enough. Raises SourceError."""
    if case.pin is None or not case.pin.digest:
        return _finding(Verdict.FAIL, "The content of the source was not read yet.", {})
    tree, known, changed = reading.opened(case)
    if changed:
        text = f"The source holds other files than those that are pinned: {_names(changed)}."
        return _finding(Verdict.FAIL, text, {"changed": changed[:MOST_NAMES]})
    signers, problems = trust.signers()
    report: dict[str, Any] = {"trusted": [item["name"] for item in signers], "problems": problems}
    signatures = _signatures(case, known)
    if not signatures:
        return _finding(_unsigned(), "Not signed.", report)
    if not signers:
        text = "Signed, but this installation trusts no signer yet, so nobody checked it."
        return _finding(_unsigned(), text, report | {"signatures": [name for name, _ in signatures]})
    told = []
    for name, source in signatures:
        reason, details = _judged(tree, known, signers, source)
        told.append({"signature": name, "reason": reason, **details})
        if not reason:
            signer = details["signer"]
            who = signer.get("identity") or signer["name"]
            text = f"Signed by {who}: {len(known):,} files, root {details['root'][:19]}…."
            return _finding(Verdict.PASS, text, report | {"signatures": told})
    return _finding(Verdict.FAIL, f"{told[0]['signature']}: {told[0]['reason']}.", report | {"signatures": told})


def _finding(verdict: Verdict, summary: str, report: dict[str, Any]) -> Finding:
    return Finding(KIND, verdict, summary[:300], TOOL, report)


def _unsigned() -> Verdict:
    return Verdict.FAIL if settings.REQUIRE_SIGNATURE else Verdict.WARN


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return ", ".join(path[:60] for path in paths[:3]) + more


def _signatures(case: Case, known: list[Pinned]) -> list[tuple[str, str | Pinned]]:
    """Return the signatures to try, with where they come from: added ones first, then those beside the files."""
    found: list[tuple[str, str | Pinned]] = [
        (f"attachment {item.name}", item.content) for item in attachments.newest(case.version, "signature", 3)
    ]
    beside = [item for item in known if is_signature(item.path)]
    beside.sort(key=lambda item: (item.path != "model.sig", item.path))
    return [*found, *((item.path, item) for item in beside)][:MOST_SIGNATURES]


def is_signature(path: str) -> bool:
    """Whether a file is a signature over the others: beside them, under one of the usual names."""
    return "/" not in path and (path.endswith((".sig", ".sigstore", ".sigstore.json")) or path == "claims.jsonl")


def _judged(
    tree: Tree, known: list[Pinned], signers: list[dict[str, Any]], source: str | Pinned
) -> tuple[str, dict[str, Any]]:
    """Return why a signature does not hold, or "", and what is known about it."""
    own = source if isinstance(source, Pinned) else None
    try:
        with _content(tree, source) as content:
            answer = sandbox.ask("signature", content, {"signers": signers})
        if "signer" not in answer.body:
            return "no signer whom this installation trusts made it", {"tried": answer.body["problems"][:MOST_NAMES]}
        statement = answer.body["statement"]
        told = {
            "signer": answer.body["signer"],
            "root": "sha256:" + statement["root"],
            "method": statement["method"],
            "hash": statement["hash_type"],
            "ignored": statement["ignore_paths"][:MOST_NAMES],
            "isolation": {"process": "own", "network": answer.network},
        }
        return _coverage(tree, known, statement, own), told
    except (ProbeFailed, Changed) as error:
        return str(error), {}
    except (KeyError, TypeError, ValueError, AttributeError):
        return "the check gave no answer that can be read", {}


def _content(tree: Tree, source: str | Pinned) -> IO[bytes]:
    if isinstance(source, Pinned):
        if source.bytes > SIGNATURE_BYTES:
            raise Changed(f"it has {source.bytes:,} bytes; the limit is {SIGNATURE_BYTES:,}")
        return reading.whole(tree, source)
    target = sandbox.scratch()
    target.write(source.encode())
    return target


def _coverage(tree: Tree, known: list[Pinned], statement: dict[str, Any], own: Pinned | None) -> str:
    """Return what the statement leaves open about the pinned files, or ""."""
    ignored = {path.rstrip("/").removeprefix("./") for path in statement["ignore_paths"]} - IGNORABLE
    passed_over = sorted(path for path in ignored if own is None or path != own.path)
    passed_over = [path for path in passed_over if not is_signature(path.rpartition("/")[2])]
    if passed_over:
        return f"it passes over {_names(passed_over)}, which may change without anybody noticing"
    parts: dict[str, list[tuple[str, str, str]]] = {}
    for name, algorithm, digest in statement["resources"]:
        path, _, span = name.partition(":") if statement["method"] == "shards" else (name, "", "")
        parts.setdefault(path, []).append((span, algorithm, digest))
    by_path = {item.path: item for item in known}
    gone = sorted(parts.keys() - by_path.keys())
    if gone:
        return f"it covers {_names(gone)}, which is not there"
    extra = sorted(by_path.keys() - parts.keys() - ({own.path} if own else set()))
    open_ones = [path for path in extra if path not in UNCOVERED]
    if open_ones:
        return f"it does not cover {_names(open_ones)}"
    for path in extra:
        reading.whole(tree, by_path[path]).close()
    other = [path for path in sorted(parts) if not _same(tree, by_path[path], parts[path])]
    return f"it covers other content of {_names(other)}" if other else ""


def _same(tree: Tree, item: Pinned, parts: list[tuple[str, str, str]]) -> bool:
    """Whether what was signed of a file is what was pinned: by the pinned digest, else by reading the file again."""
    if len(parts) == 1 and not parts[0][0] and parts[0][1] == "sha256":
        return parts[0][2] == item.sha256
    spans = []
    for span, algorithm, digest in parts:
        start, _, end = span.partition(":") if span else ("0", "", str(item.bytes))
        spans.append((int(start), int(end), algorithm.partition("-")[0], digest))
    spans.sort()
    edges = [0, *(end for _, end, _, _ in spans)]
    if [start for start, _, _, _ in spans] != edges[:-1] or edges[-1] != item.bytes:
        return False  # a hole, an overlap, or another size
    return _read_again(tree, item, spans)


def _read_again(tree: Tree, item: Pinned, spans: list[tuple[int, int, str, str]]) -> bool:
    """Hash a file part by part. Raises Changed when it is not what was pinned, KeyError for an unknown algorithm."""
    total = hashlib.sha256()
    same = True
    with tree.open(item.path) as stream:
        for start, end, algorithm, digest in spans:
            part = _HASHES[algorithm]()
            left = end - start
            while left and (chunk := stream.read(min(reading.CHUNK, left))):
                total.update(chunk)
                part.update(chunk)
                left -= len(chunk)
            same = same and not left and part.hexdigest() == digest
    if total.hexdigest() != item.sha256:
        raise Changed(f"{item.path} is not what was pinned")
    return same
