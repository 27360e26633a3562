"""Whether a version has content that must be read before anybody can rely on it."""

from catalog.models import Kind, Version


def has_content(version: Version) -> bool:
    """Whether `version` starts from files of its source.

    What ships with the portal and what only the demo engine serves loads nothing; an MCP server is reached, not
    loaded.
    """
    if version.asset.kind != Kind.MODEL or version.source.startswith("builtin://"):
        return False
    return not version.runtime.get("demo")
