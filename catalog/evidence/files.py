"""File check: only formats of the allow-list, headers that hold what they claim, no pickle that runs something, no
code.

Everything is parsed by probes out of process. Small files are read whole and hashed against the pin; of large weights
the header is read and compared with the digest that it had when the whole file was hashed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import IO, Any

from catalog.evidence import reading
from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.evidence.probing import SCAN_BYTES, Look, fetched
from catalog.evidence.reading import Changed, Pinned
from catalog.evidence.sandbox import ProbeFailed
from catalog.heads import SNIFF_BYTES, WHOLE_BYTES
from catalog.models import Verdict, Version
from catalog.probes import formats

KIND, TITLE, CONTENT, DAYS = "files", "Files", True, None
TOOL = f"gatehouse file check 1, picklescan {version_of('picklescan')}"
MOST_ROWS = 300
_WORST = {"fail": 0, "warn": 1, "pass": 2}
_WHY = {
    formats.PROGRAM: "programs and libraries are no part of a version",
    formats.HAZARD: "this format can carry code, and nothing here can look into it",
    formats.INERT: "not on the list of formats and not looked into; engines for safetensors and GGUF do not read it",
}


@dataclass
class _Look(Look):
    trusts: bool = False  # whether a runtime of the version trusts remote code


def applies(version: Version) -> bool:
    """Whoever loads files has files to be looked at."""
    return has_content(version)


def check(case: Case) -> Finding:
    """Judge every pinned file: one that fails lets the version fail. Raises SourceError."""
    if case.pin is None or not case.pin.digest:
        return Finding(KIND, Verdict.FAIL, "The content of the source was not read yet.", TOOL)
    tree, known, changed = reading.opened(case)
    trusting = trusts_remote_code(case.version)
    look = _Look(tree, trusts=bool(trusting))
    rows = [_row(path, 0, "", [["fail", "it is not what was pinned"]]) for path in changed]
    rows += [_judged(look, item) for item in known if item.path not in set(changed)]
    rows += _shards(rows, {item.path for item in known})
    if trusting:
        rows.append(_row(trusting, 0, "command", [["fail", "its command lets the model run Python code of its own"]]))
    return _concluded(rows, look)


def trusts_remote_code(version: Version) -> str:
    """Return which runtime of `version` tells its engine to run Python that comes with a model, or ""."""
    for name, runtime in {"runtime": version.runtime, **version.runtimes}.items():
        for word in runtime.get("command", []):
            if word.lower().replace("_", "-").startswith("--trust"):  # parsers accept abbreviations
                return f"runtime {name}" if name != "runtime" else name
    return ""


def _concluded(rows: list[dict[str, Any]], look: _Look) -> Finding:
    rows.sort(key=lambda row: (_WORST[row["verdict"]], row["path"]))
    counts = Counter(row["verdict"] for row in rows)
    verdict = Verdict.FAIL if counts["fail"] else Verdict.WARN if counts["warn"] else Verdict.PASS
    if verdict == Verdict.PASS:
        summary = f"{len(rows):,} files, all of formats that carry no code." if rows else "There are no files."
    else:
        first, others = rows[0], counts[verdict.value] - 1
        more = f" And {others:,} more." if others else ""
        summary = f"{_cut(first['path'], 80)}: {_cut(first['findings'][0][1], 180)}.{more}"
    report = {
        "files": [{name: value for name, value in row.items() if name != "facts"} for row in rows[:MOST_ROWS]],
        "counts": dict(counts),
        "left_out": max(len(rows) - MOST_ROWS, 0),
        "isolation": look.isolation(),
        "tools": {"picklescan": version_of("picklescan")},
    }
    return Finding(KIND, verdict, summary[:300], TOOL, report)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _row(
    path: str, size: int, role: str, findings: list[list[str]], facts: dict[str, Any] | None = None
) -> dict[str, Any]:
    worst = min((level for level, _ in findings), key=_WORST.__getitem__, default="pass")
    findings = sorted(findings, key=lambda item: _WORST[item[0]])
    return {"path": path, "bytes": size, "format": role, "verdict": worst, "findings": findings, "facts": facts or {}}


def _judged(look: _Look, item: Pinned) -> dict[str, Any]:
    """Return the row of one file; whatever its probe does is a finding."""
    role = formats.role(item.path)
    findings: list[list[str]] = []
    facts: dict[str, Any] = {}
    try:
        with fetched(look.tree, item, role) as content:
            mark = formats.sniff(content.read(SNIFF_BYTES))
            if formats.contradicts(role, mark):
                findings.append(["fail", f"it is {mark or 'something else'} by its content, not what its name says"])
            else:
                answer = _LOOKS[role](look, item, content, mark)
                findings, facts = answer["findings"], answer.get("facts", {})
        findings += [_code(look, said) for said in facts.get("remote_code", [])]
    except (ProbeFailed, Changed) as error:
        findings.append(["fail", str(error)])
    except (KeyError, TypeError, ValueError):
        findings.append(["fail", "the check gave no answer that can be read"])
    return _row(item.path, item.bytes, role, findings, facts)


def _code(look: _Look, said: str) -> list[str]:
    if look.trusts:
        return ["fail", f"it makes the engine run Python of the model ({said})"]
    return ["warn", f"it names Python of the model ({said}), which this version's engine is not told to run"]


def _said(level: str, text: str) -> dict[str, Any]:
    return {"findings": [[level, text]]}


def _too_large(item: Pinned, most: int) -> dict[str, Any]:
    return _said("fail", f"it has {item.bytes:,} bytes; the most that is looked through is {most:,}")


def _safetensors(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    return look.safetensors(item, content)


def _gguf(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    return look.gguf(item, content)


def _document(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    if item.bytes > WHOLE_BYTES:
        return _too_large(item, WHOLE_BYTES)
    role = formats.role(item.path)
    return look.ask("documents", content, role="binary" if role == formats.IMAGE else role)


def _pickle(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    if item.bytes > SCAN_BYTES:
        return _too_large(item, SCAN_BYTES)
    return look.ask("pickles", content, name=item.path)


def _archive(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    if item.bytes > SCAN_BYTES:
        return _too_large(item, SCAN_BYTES)
    return look.ask("archives", content, size=item.bytes)


def _python(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    if look.trusts:
        return _said("fail", "Python code that this version's engine is told to run")
    return _said("warn", "Python code; this version's engine is not told to run it")


def _named(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    role = formats.role(item.path)
    return _said("warn" if role == formats.INERT else "fail", _WHY[role])


def _unknown(look: _Look, item: Pinned, content: IO[bytes], mark: str) -> dict[str, Any]:
    """Judge a file that no name of the list fits: text warns, anything else fails."""
    if mark or item.bytes > WHOLE_BYTES:
        return _said("fail", f"{mark or 'a large file'} that is not on the list of formats")
    answer = look.ask("documents", content, role="text")
    if any(level == "fail" for level, _ in answer["findings"]):
        return _said("fail", f"not on the list of formats: {answer['findings'][0][1]}")
    return _said("warn", "text that is not on the list of formats")


_LOOKS: dict[str, Callable[[_Look, Pinned, IO[bytes], str], dict[str, Any]]] = {
    formats.SAFETENSORS: _safetensors,
    formats.GGUF: _gguf,
    **dict.fromkeys((formats.JSON, formats.TEXT, formats.PROSE, formats.TEMPLATE, formats.IMAGE), _document),
    formats.SENTENCEPIECE: _document,
    formats.PICKLE: _pickle,
    formats.ARCHIVE: _archive,
    formats.PYTHON: _python,
    **dict.fromkeys((formats.PROGRAM, formats.HAZARD, formats.INERT), _named),
    formats.UNKNOWN: _unknown,
}


def _shards(rows: list[dict[str, Any]], pinned: set[str]) -> list[dict[str, Any]]:
    """Return rows for the files that an index of weights names and that are not there."""
    found = []
    for row in rows:
        below = row["path"].rpartition("/")[0]
        for name in row["facts"].get("shards", []):
            path = f"{below}/{name}" if below else name
            if path not in pinned:
                found.append(_row(path, 0, "", [["fail", f"{row['path']} names it, but it is not there"]]))
    return found
