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


def plain(value: Any) -> Any:
    """Return plain lists and dictionaries: the portal's own mappings and tuples are none to YAML."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
