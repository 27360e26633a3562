"""Archives: looked into, never unpacked. What would do harm when it is unpacked fails, and so does what would be no
part of a version by itself.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any

from catalog.probes import formats
from catalog.probes.findings import Findings, Stop, shown

MOST_ENTRIES, MOST_RATIO, MOST_BYTES = 10_000, 200, 4 * 2**30
_FREE = 10 * 2**20  # so much may come out of any archive
_READ = 256 * 2**20  # up to so much a zip archive is read, to hold its sizes against what its directory claims
_OPENERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "a gzip file": lambda content: gzip.GzipFile(fileobj=content),  # type: ignore[dict-item,return-value]
    "a bzip2 file": lambda content: bz2.BZ2File(content),
    "an xz file": lzma.LZMAFile,
    "a tar archive": lambda content: content,
}


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return the findings about a whole archive of question["size"] bytes."""
    found = Findings()
    mark = formats.sniff(content.read(512))
    content.seek(0)
    try:
        if mark == "a zip archive":
            judge_zip(content, found)
        elif mark in _OPENERS:
            _judge_tar(_Counted(_OPENERS[mark](content), int(question["size"])), found, mark)
        else:
            raise Stop(f"{mark or 'its format'} cannot be looked into here: publish the files themselves")
    except Stop as stop:
        found.fail(str(stop))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        found.fail(f"it is damaged: {shown(str(error))}")
    found.warn("it is an archive: engines do not read it, so publish the files themselves")
    return found.answer()


def _bomb(unpacked: int, packed: int) -> None:
    if unpacked > MOST_BYTES or unpacked > max(_FREE, packed * MOST_RATIO):
        raise Stop(f"{packed:,} bytes unpack to {unpacked:,} or more: an archive bomb")


def judge_zip(content: IO[bytes], found: Findings, *, inside: bool = True) -> None:
    """Add what is wrong with a zip archive: names, sizes, links, encryption, and with `inside` also the files in it.
    Raises Stop.
    """
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    try:
        with zipfile.ZipFile(content) as archive:
            items = archive.infolist()
            if len(items) > MOST_ENTRIES:
                raise Stop(f"it holds {len(items):,} files; the limit is {MOST_ENTRIES:,}")
            total = sum(item.file_size for item in items)
            _bomb(total, size) if inside else _bomb(min(total, MOST_BYTES), size)
            _apart(items, size)
            names: set[str] = set()
            for item in items:
                _name(item.filename, names)
                if item.flag_bits & 1:
                    raise Stop(f"{shown(item.filename)} in it is encrypted: nobody can look into it")
                if stat.S_ISLNK(item.external_attr >> 16):
                    raise Stop(f"{shown(item.filename)} in it is a symbolic link")
                if inside and not item.is_dir():
                    with archive.open(item) as member:
                        _member(item.filename, member.read(512), found)
            if total <= _READ:
                damaged = archive.testzip()
                if damaged:
                    raise Stop(f"{shown(damaged)} in it is damaged")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError, ValueError) as error:
        raise Stop(f"it is a damaged zip archive: {shown(str(error))}") from error


def _apart(items: list[zipfile.ZipInfo], size: int) -> None:
    """Raise Stop when files share bytes of the archive: a bomb that no ratio of a single file gives away."""
    end, name = 0, ""
    for item in sorted(items, key=lambda item: item.header_offset):
        if item.header_offset < end:
            raise Stop(f"{shown(item.filename)} and {shown(name)} in it lie over each other: an archive bomb")
        end, name = item.header_offset + 30 + item.compress_size, item.filename
    if end > size:
        raise Stop(f"{shown(name)} in it goes beyond its end")


def _name(name: str, seen: set[str]) -> None:
    parts = name.rstrip("/").split("/")
    outside = name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]
    if outside or not name.isprintable():
        raise Stop(f"a file in it is called {shown(ascii(name))}, which leads out of the directory")
    if name in seen:
        raise Stop(f"two files in it are called {shown(name)}")
    seen.add(name)


def _member(name: str, beginning: bytes, found: Findings) -> None:
    """Judge a file in an archive by its name and its first bytes."""
    role, mark = formats.role(name), formats.sniff(beginning)
    if role == formats.ARCHIVE or mark in formats.ARCHIVES:
        found.fail(f"{shown(name)} in it is an archive again")
    elif role in {formats.PICKLE, formats.PYTHON, formats.PROGRAM, formats.HAZARD, formats.UNKNOWN}:
        found.fail(f"{shown(name)} in it is not on the list of formats")
    elif formats.contradicts(role, mark):
        found.fail(f"{shown(name)} in it is {mark or 'something else'} by its content")


class _Counted(io.RawIOBase):
    """What comes out of a decompressor, as far as it may."""

    def __init__(self, inner: IO[bytes], packed: int) -> None:
        self.inner, self.packed, self.out = inner, packed, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self.inner.read(2**16 if size < 0 else min(size, 2**20))
        self.out += len(part)
        _bomb(self.out, self.packed)
        return part


def _judge_tar(content: _Counted, found: Findings, mark: str) -> None:
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=content, mode="r|") as archive:
            for item in archive:
                if len(names) >= MOST_ENTRIES:
                    raise Stop(f"it holds more than {MOST_ENTRIES:,} files")
                _name(item.name, names)
                if item.issym() or item.islnk():
                    raise Stop(f"{shown(item.name)} in it is a link to {shown(ascii(item.linkname))}")
                if not item.isfile() and not item.isdir():
                    raise Stop(f"{shown(item.name)} in it is a device or pipe")
                if item.isfile():
                    member = archive.extractfile(item)
                    _member(item.name, member.read(512) if member else b"", found)
    except tarfile.ReadError as error:
        if names or mark == "a tar archive":
            raise
        raise Stop("it is a compressed file that is no archive: publish the file itself") from error
    while content.read(2**20):  # a bomb may lie behind the last file
        pass
