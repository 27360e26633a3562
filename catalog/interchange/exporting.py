"""The catalog as one file for another program: the assets that somebody sees and that may be asked for, by name."""

from collections.abc import Callable, Iterator
from typing import Any

import yaml
from django.db.models import Prefetch, Q

from catalog.interchange import backstage, bom, odh
from catalog.models import STATE_ORDER, Asset, Kind, Version, VersionState, with_pins
from portal.errors import Invalid
from projects.principal import Principal

CHUNK = 200  # assets that are in memory at once
EXPORTED = (VersionState.APPROVED, VersionState.DEPRECATED)  # others are nobody's to offer elsewhere
FORMATS = ("backstage", "odh")
MEDIA_TYPE = "application/yaml; charset=utf-8"
FILES = {"backstage": "catalog-info.yaml", "odh": "model-catalog-source.yaml"}


class _Dumper(yaml.SafeDumper):
    """Writes long texts as blocks, as people do, and never an alias, which careful readers refuse."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out wherever it stands."""
        return True


def _as_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_text)


def dump(value: object) -> str:
    """Return `value` as YAML with its keys in the order in which they were written."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def checked(name: str) -> str:
    """Return the format; raises Invalid for one that does not exist."""
    if name not in FORMATS:
        raise Invalid.field("format", f"format is {name[:20]!r}; choose one of {', '.join(FORMATS)}.")
    return name


def export(principal: Principal, name: str, slug: str = "") -> Iterator[str]:
    """Yield the file in format `name`, piece by piece: every asset that `principal` sees, or the one with `slug`."""
    return {"backstage": _backstage, "odh": _odh}[checked(name)](_chosen(principal, slug))


def ml_bom(principal: Principal, slug: str) -> Iterator[str]:
    """Yield the ML-BOM of the best version of an asset; raises Invalid where there is none to offer."""
    best = next(_chosen(principal, slug), None) if slug else None
    if best is None:
        raise Invalid.field("asset", f"asset is {slug[:40]!r}; name one that is approved or deprecated.")
    yield bom.text_of(best[1])


def _chosen(principal: Principal, slug: str) -> Iterator[tuple[Asset, Version]]:
    """Yield each asset with its best version, by name."""
    versions = with_pins(Version.objects.visible_to(principal).filter(state__in=EXPORTED))
    ranks = [STATE_ORDER.index(state) for state in EXPORTED]
    assets = Asset.objects.visible_to(principal).filter(Q(rank__in=ranks))
    assets = assets.filter(slug=slug) if slug else assets
    rows = assets.order_by("name", "id").prefetch_related(Prefetch("versions", queryset=versions))
    for asset in rows.iterator(chunk_size=CHUNK):
        best = min(asset.versions.all(), key=lambda item: STATE_ORDER.index(VersionState(item.state)), default=None)
        if best is not None:
            best.asset = asset
            yield asset, best


def _backstage(rows: Iterator[tuple[Asset, Version]]) -> Iterator[str]:
    for asset, version in rows:
        yield "---\n" + dump(backstage.entity(asset, version))


def _odh(rows: Iterator[tuple[Asset, Version]]) -> Iterator[str]:
    yield dump({"source": odh.SOURCE}) + "models:\n"
    empty = True
    write: Callable[[object], str] = dump
    for asset, version in rows:
        if asset.kind == Kind.MODEL:
            empty = False
            yield write([odh.model(asset, version)])
    if empty:
        yield "  []\n"
