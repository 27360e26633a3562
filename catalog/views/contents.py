"""What a comparison says of the content of versions: how they are started, their pins, files and tools that differ."""

from collections.abc import Callable, Sequence
from typing import Any

from catalog.models import Pin, Version
from portal.templatetags.gatehouse import bytes_h

SHOWN = 20  # files or tools that differ
GONE = "not there"
Row = Callable[[str, Sequence[dict[str, Any] | str], int], dict[str, Any]]


def runtime(versions: list[Version], row: Row) -> list[dict[str, Any]]:
    """Return engine, image and command of each version."""
    many = len(versions)
    return [
        row("Image", [str(version.runtime.get("image", "")) for version in versions], many),
        row("Serves", [str(version.runtime.get("model", "")) for version in versions], many),
        row("Command", [" ".join(version.runtime.get("command", [])) for version in versions], many),
        row("Other engines", [", ".join(sorted(version.runtimes)) for version in versions], many),
    ]


def pins(versions: list[Version], row: Row) -> list[dict[str, Any]]:
    """Return source, revision and content of each version."""
    many, found = len(versions), [_pin(version) for version in versions]
    return [
        row("Source", [version.source for version in versions], many),
        row("Revision", [pin.revision if pin else "" for pin in found], many),
        row("Content digest", [pin.digest if pin else "" for pin in found], many),
        row("Files", [f"{len(pin.files):,}, {bytes_h(pin.total_bytes)}" if pin else "" for pin in found], many),
    ]


def files(versions: list[Version], row: Row) -> list[dict[str, Any]]:
    """Return the files that are not the same in all versions, of one asset whose content is known in each."""
    found = [_pin(version) for version in versions]
    pinned = [pin for pin in found if pin is not None]
    if len(versions) < 2 or len(pinned) < len(versions) or len({version.asset_id for version in versions}) > 1:
        return []
    known = [{item["path"]: item for item in pin.files} for pin in pinned]
    paths = sorted({path for one in known for path in one})
    differing = [path for path in paths if len({one[path]["sha256"] if path in one else "" for one in known}) > 1]
    rows = [row(path, [_file(one.get(path)) for one in known], len(versions)) for path in differing[:SHOWN]]
    if len(differing) > SHOWN:
        rows.append(row("and others", [f"{len(differing) - SHOWN:,} more differ"] * len(versions), 1))
    return rows


def tools(versions: list[Version], row: Row) -> list[dict[str, Any]]:
    """Return the pinned tools whose definition is not the same in all versions."""
    known = [{tool.name: tool.digest for tool in version.tools.all()} for version in versions]
    if len(versions) < 2 or not all(known):
        return []
    names = sorted({name for one in known for name in one})
    differing = [name for name in names if len({one.get(name) for one in known}) > 1]
    return [
        row(f"Tool {name}", [_short(one[name]) if name in one else GONE for one in known], len(versions))
        for name in differing[:SHOWN]
    ]


def _pin(version: Version) -> Pin | None:
    pin: Pin | None = getattr(version, "pin", None)
    return pin if pin is not None and pin.digest else None


def _file(item: dict[str, Any] | None) -> dict[str, Any] | str:
    return {"text": _short(item["sha256"]), "note": bytes_h(item["bytes"])} if item else GONE


def _short(digest: str) -> str:
    return f"{digest.removeprefix('sha256:')[:12]}…"
