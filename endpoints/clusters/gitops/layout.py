"""What stands where in the repository, as bytes. Pure functions: rendering the same again gives the same bytes.

<directory>/kustomization.yaml                               the projects
<directory>/<project>/kustomization.yaml                     its environments
<directory>/<project>/<environment>/kustomization.yaml       namespace, bounds, policies, and the endpoints
<directory>/<project>/<environment>/<name>-<id>/             one endpoint: its objects, and what approved them
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from endpoints.clusters import Place, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.reading import at
from endpoints.clusters.gitops.repository import PROPOSALS
from endpoints.clusters.gitops.words import error
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.manifest_text import manifest_of, manifest_text

DIRECTORY = "gatehouse"
LIST = "kustomization.yaml"
SEAL = "provenance.json"
HEAD = "# Written by Gatehouse. What is changed here by hand is shown in the portal and never written over.\n"
_PART = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?")
_ITEM = re.compile(r"""^ *- +["']?(?:\./)?([^\s"'#]+?)/?["']?(?: +#.*)? *$""")
_REPLICAS = re.compile(r"^  replicas:.*$", re.MULTILINE)

Manifest = Mapping[str, Any]


def root(place: Place) -> str:
    """Return the portal's directory in the repository."""
    return str(place.settings.get("git_directory") or DIRECTORY).strip("/")


def space(place: Place, project: str, environment: str) -> str:
    """Return the directory of a project and environment; raises ClusterError for a name that is no plain one."""
    parts = (*root(place).split("/"), project, environment)
    bad = next((part for part in parts if not _PART.fullmatch(part)), None)
    if bad is not None:
        raise refused("invalid_workload", detail=f"has the part {bad[:60]!r}, which no directory can be named")
    return "/".join(parts)


def folder(place: Place, workload: Workload) -> str:
    """Return the directory of an endpoint; raises ClusterError as `space` does."""
    last = f"{workload.name}-{owned.stem(workload.endpoint_id)}"
    if not _PART.fullmatch(last):
        raise refused("invalid_workload", detail=f"has the name {last[:60]!r}, which no directory can have")
    return f"{space(place, workload.project, workload.environment_name)}/{last}"


def proposal(place: Place, path: str, word: str) -> str:
    """Return the branch on which a change of the directory `path` is proposed; `word` says which."""
    return f"{PROPOSALS}/{path.removeprefix(root(place) + '/')}-{word}"


def text(manifest: Manifest) -> bytes:
    """Return a manifest as its file: keys in order, no time, no alias."""
    return (HEAD + manifest_text(manifest, sort_keys=True)).encode()


def shared(manifests: Sequence[Manifest]) -> dict[str, bytes]:
    """Return the files of what all endpoints of a project and environment share, by their name."""
    found = {}
    for one in manifests:
        if not owned.label(one, owned.ENDPOINT):
            name = "" if one["kind"] == "Namespace" else f"-{one['metadata']['name']}"
            found[f"{one['kind'].lower()}{name}.yaml"] = text(one)
    return found


def own(manifests: Sequence[Manifest], revision: int) -> dict[str, bytes]:
    """Return the files of one revision of an endpoint, by their name: never a Secret."""
    return {
        f"{one['kind'].lower()}-r{revision}.yaml": text(one)
        for one in manifests
        if owned.label(one, owned.ENDPOINT) and one["kind"] != "Secret"
    }


def revision_of(name: str) -> int:
    """Return the revision that a file of an endpoint belongs to, 0 for none."""
    found = re.fullmatch(r"[a-z]+-r([1-9][0-9]{0,8})\.yaml", name)
    return int(found[1]) if found else 0


def listing(names: Sequence[str]) -> bytes:
    """Return the kustomization of `names`."""
    lines = [HEAD, "apiVersion: kustomize.config.k8s.io/v1beta1\n", "kind: Kustomization\n"]
    lines += ["resources:\n", *(f"  - {name}\n" for name in sorted(names))] if names else ["resources: []\n"]
    return "".join(lines).encode()


def listed(found: bytes | None, name: str, path: str) -> bytes | None:
    """Return the kustomization `found` (None: there is none yet) with `name` among its resources, and everything else
    as it was; None when it is there already. Raises ClusterError for one that cannot be read, naming `path`.
    """
    if found is None:
        return listing([name])
    lines, first, items = _items(found, path)
    if name in items.values():
        return None
    after = [index for index, item in items.items() if item < name]
    place = max(after) + 1 if after else first + 1
    indent = lines[min(items)].partition("-")[0] if items else "  "
    lines[first] = "resources:"
    return _joined([*lines[:place], f"{indent}- {name}", *lines[place:]])


def unlisted(found: bytes | None, name: str, path: str) -> bytes | None:
    """Return the kustomization `found` without `name`; None when it is not there. Raises as `listed` does."""
    if found is None:
        return None
    lines, first, items = _items(found, path)
    gone = [index for index, item in items.items() if item == name]
    if not gone:
        return None
    if len(items) == len(gone):
        lines[first] = "resources: []"
    return _joined([line for index, line in enumerate(lines) if index not in gone])


def asleep(content: bytes) -> bytes | None:
    """Return the file of a Deployment with no replica and every other line as it was, or, where somebody wrote it in
    another way, anew; None for one that is no such object: only without the file does nothing run.
    """
    words = content.decode("utf-8", "surrogateescape")
    if _REPLICAS.search(words):
        words = _REPLICAS.sub("  replicas: 0", words, count=1)
    else:
        words = re.sub(r"^spec:$", "spec:\n  replicas: 0", words, count=1, flags=re.MULTILINE)
    changed = words.encode("utf-8", "surrogateescape")
    if at(manifest_of(changed), "spec", "replicas") == 0:
        return changed
    found = manifest_of(content)
    if found is None or not isinstance(found.get("spec"), dict):
        return None
    return text({**found, "spec": {**found["spec"], "replicas": 0}})


def _items(content: bytes, path: str) -> tuple[list[str], int, dict[int, str]]:
    """Return the lines of a kustomization, which of them says `resources`, and the items below it by their line."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    first = next((index for index, line in enumerate(lines) if re.fullmatch(r"resources: *(\[\])? *", line)), None)
    if first is None:
        raise error("git_tree_odd", file=path, detail="it has no plain list of resources")
    items: dict[int, str] = {}
    for index in range(first + 1, len(lines)):
        found = _ITEM.match(lines[index])
        plain = lines[index].strip()
        if found or plain.startswith("- "):  # what somebody wrote in another way is an item, too
            items[index] = found[1] if found else plain
        elif plain and not plain.startswith("#"):
            break
    return lines, first, items


def _joined(lines: Sequence[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "surrogateescape")
