"""Pickles, alone or in the zip archives of PyTorch and NumPy: disassembled by picklescan, never loaded.

picklescan takes what it cannot read for clean and passes over damaged members of an archive. Here everything that could
be a pickle must be read to its end, or the file fails.
"""

import logging
import os
import pickletools
import re
import zipfile
from typing import IO, Any

from picklescan.scanner import Global, SafetyLevel, ScanResult, scan_bytes, scan_pickle_bytes

from catalog.probes import archives
from catalog.probes.documents import is_pickle
from catalog.probes.findings import Findings, Stop, shown

_TORCH = {".bin", ".pt", ".pth", ".ckpt"}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format of PyTorch
_PICKLED = (".pkl", ".pickle", ".joblib", ".dill", ".dat")
_MOST_PICKLES, _MOST_GLOBALS = 10_000, 200
_OBJECTS = re.compile(rb"'descr':\s*(?:'([^']*)'|(\[.*\]))", re.DOTALL)


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return the findings about a whole file that its name or its first bytes call a pickle."""
    logging.disable(logging.CRITICAL)
    found = Findings()
    known: list[Global] = []
    try:
        known = _scanned(content, str(question["name"]))
    except Stop as stop:
        found.fail(str(stop))
        known = _guessed(content)
    known = list({(item.module, item.name): item for item in sorted(known, key=_order)}.values())
    for item in known:
        title = shown(f"{item.module}.{item.name}")
        if item.safety == SafetyLevel.Dangerous:
            found.fail(f"loading it would call {title}, which can run any program")
        elif item.safety == SafetyLevel.Suspicious:
            found.fail(f"loading it would import {title}, which is not known to be harmless")
    if not found.found:
        found.warn("it is a pickle: no dangerous import was found, but only safetensors and GGUF cannot run code")
    kept = [{"global": shown(f"{item.module}.{item.name}"), "safety": item.safety.value} for item in known]
    return found.answer(globals=kept[:_MOST_GLOBALS])


def _order(item: Global) -> tuple[str, str, str]:
    return item.safety.value, item.module, item.name


def _guessed(content: IO[bytes]) -> list[Global]:
    """Return what a damaged pickle would import as far as it can be read: loading it may run that before it fails."""
    content.seek(0)
    try:
        return list(scan_pickle_bytes(content, "damaged").globals)
    except Exception:  # it has failed already
        return []


def _scanned(content: IO[bytes], name: str) -> list[Global]:
    """Return what the pickles in `content` import. Raises Stop for what is not read to its end."""
    ending = os.path.splitext(name)[1].lower()
    if zipfile.is_zipfile(content):
        return _archive(content, name)
    content.seek(0)
    if content.read(6) == b"\x93NUMPY":
        return _array(content)
    _read_to_the_end(content, torch=ending in _TORCH)
    content.seek(0)
    return _merged(scan_bytes(content, name, ending), name)


def _merged(result: ScanResult, name: str) -> list[Global]:
    if result.scan_err:
        raise Stop(f"{shown(name)} could not be read as a pickle to its end")
    return list(result.globals)


def _read_to_the_end(content: IO[bytes], *, torch: bool) -> None:
    """Raise Stop unless the file is pickles to its last byte; PyTorch's older format has raw data behind five."""
    content.seek(0, os.SEEK_END)
    size = content.tell()
    content.seek(0)
    older = False
    for count in range(_MOST_PICKLES):
        if count and content.tell() == size:
            return
        try:
            numbers = [value for opcode, value, _ in pickletools.genops(content) if opcode.name == "LONG1"]
        except Exception as error:
            if older and count >= 5:
                return
            what = (
                "cannot be read as a pickle to its end" if not count else f"holds something else behind {count} pickles"
            )
            raise Stop(f"it {what} ({type(error).__name__})") from error
        older = older or (torch and not count and numbers == [_TORCH_MAGIC])
    raise Stop(f"it holds more than {_MOST_PICKLES:,} pickles")


def _array(content: IO[bytes]) -> list[Global]:
    """Return what a NumPy array imports: nothing, unless it holds objects, which are a pickle behind its header."""
    content.seek(6)
    major = int.from_bytes(content.read(2)[:1], "little")
    length = int.from_bytes(content.read(2 if major == 1 else 4), "little")
    header = content.read(min(length, 2**20))
    described = _OBJECTS.search(header)
    if major not in {1, 2, 3} or len(header) < length or described is None:
        raise Stop("it has no header of a NumPy array that can be read")
    if b"O" not in (described[1] or described[2]):
        return []
    return _merged(scan_pickle_bytes(content, "array"), "array")


def _archive(content: IO[bytes], name: str) -> list[Global]:
    """Return what the pickles in a zip archive import, each of them read to its end."""
    checked = Findings()
    content.seek(0)
    archives.judge_zip(content, checked, inside=False)
    for level, sentence in checked.found:
        if level == "fail":
            raise Stop(sentence)
    known: list[Global] = []
    scanned = 0
    with zipfile.ZipFile(content) as archive:
        for item in archive.infolist():
            if "/code/" in item.filename and item.filename.endswith(".py"):
                raise Stop(f"it holds a program ({shown(item.filename)}): TorchScript")
            with archive.open(item) as member:
                first = member.read(4 * 2**20 if item.file_size < 4 * 2**20 else 8)
            array = first.startswith(b"\x93NUMPY")
            pickled = first[:1] == b"\x80" or item.filename.lower().endswith(_PICKLED) or is_pickle(first)
            if not array and not pickled:
                continue
            scanned += 1
            with archive.open(item) as member:
                known += _array(member) if array else _member(member, item.filename)
    if not scanned:
        raise Stop("it is an archive without a pickle or array that could be scanned")
    content.seek(0)
    return known + _merged(scan_bytes(content, name, ".zip"), name)


def _member(member: IO[bytes], name: str) -> list[Global]:
    try:
        for _ in pickletools.genops(member):
            pass
    except Exception as error:
        raise Stop(f"{shown(name)} in it is no pickle that can be read to its end") from error
    member.seek(0)
    return _merged(scan_pickle_bytes(member, name), name)
