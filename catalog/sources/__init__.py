"""Where the content of a version lies. One small module per kind of source; `open_tree` finds the one for an address.

hf://org/model@revision        a hub with the API of Hugging Face
oci://registry/name@sha256:…   an OCI registry
s3://bucket/prefix             a bucket
pvc://claim/path               a directory of a volume that this installation mounts
file:///path                   a directory of this machine, below one that an operator allowed
builtin://…                    ships with the portal: nothing to read
"""

from catalog.sources import bucket, directory, hub, oci, paths
from catalog.sources.tree import SourceDenied, SourceRefused, Tree


def open_tree(source: str, *, revision: str = "") -> Tree:
    """Return the files of `source`, at `revision` (a commit or digest) where one is given, else at what it names now.

    Asks the hub or registry what that is. Raises SourceError when that cannot be told now, SourceRefused for a source
    that cannot be read here.
    """
    scheme, _, rest = source.partition("://")
    if scheme == "hf":
        return hub.of(rest, revision)
    if scheme == "oci":
        return oci.of(rest, revision)
    if scheme == "s3":
        return bucket.of(rest)
    if scheme in {"file", "pvc"}:
        return directory.of(scheme, rest)
    if scheme == "builtin":
        raise SourceRefused("What ships with the portal has no files of its own.")
    raise SourceDenied(f"The portal reads no source that begins with “{paths.shown(scheme)}://”.")


def follows(source: str) -> bool:
    """Whether the name in `source` can lead to another content later: a branch or a tag, no commit or digest."""
    scheme, _, rest = source.partition("://")
    named = rest.rpartition("@")[2] if "@" in rest else ""
    return (scheme == "hf" and not hub.COMMIT.fullmatch(named)) or (scheme == "oci" and not oci.DIGEST.fullmatch(named))


__all__ = ["follows", "open_tree"]
