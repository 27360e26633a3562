"""Objects of an API as YAML that people read and programs compare: the same bytes for the same object."""

from collections.abc import Mapping
from typing import Any

import yaml


class Flat(yaml.SafeDumper):
    """Writes values out instead of anchors and aliases."""

    def ignore_aliases(self, data: object) -> bool:
        """Never an alias."""
        return True


def manifest_text(manifest: Mapping[str, Any], *, sort_keys: bool = False) -> str:
    """Return a manifest as YAML in lines of 120 characters, its keys as they come or sorted."""
    text = yaml.dump(plain(manifest), Dumper=Flat, sort_keys=sort_keys, default_flow_style=False, width=120)
    return str(text)


class _Safe(yaml.SafeLoader):
    """Reads what JSON can hold, times as words, and no alias: a few lines of them could stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it holds an alias")
        return super().compose_node(parent, index)


_Safe.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)  # type: ignore[type-var]
for _kind in ("binary", "set", "omap", "pairs"):
    _Safe.add_constructor(f"tag:yaml.org,2002:{_kind}", yaml.SafeLoader.construct_undefined)  # type: ignore[type-var]


def manifest_of(content: bytes) -> dict[str, Any] | None:
    """Return the one object that a file of YAML holds, whoever wrote it; None where it holds none, or several."""
    try:
        found = yaml.load(content, Loader=_Safe)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def plain(value: Any) -> Any:
    """Return plain lists and dictionaries: the portal's own mappings and tuples are none to YAML."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
