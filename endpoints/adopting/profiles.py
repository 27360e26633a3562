"""Hardware profiles of OpenShift AI, read as proposals for the portal's catalog. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endpoints.clusters.explaining.reading import at, line, mapping, number, objects, text
from endpoints.rogue.devices import is_accelerator

QUANTITY = re.compile(r"([0-9]{1,15})(?:\.[0-9]+)?(m|[kMGTP]i?)?")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
         "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}  # fmt: skip
PRODUCT = re.compile(r"\b(?:[AHLBTV][0-9]{1,3}(?:[A-Z]{0,2})|MI[0-9]{3}[A-Z]?|RTX ?[A-Z0-9]+|Gaudi ?[0-9]?)\b")
MOST_SLUG = 40


@dataclass(frozen=True)
class Found:
    """A HardwareProfile of a cluster; `content` are fields of the catalog's (the price is what only people know)."""

    namespace: str
    name: str
    uid: str
    content: Mapping[str, Any]


def read(found: Mapping[str, Any]) -> Found:
    """Return what a HardwareProfile proposes."""
    meta, spec = mapping(found.get("metadata")), mapping(found.get("spec"))
    identifiers = objects(spec.get("identifiers"))
    title = line(
        at(meta, "annotations", "opendatahub.io/display-name") or spec.get("displayName") or meta.get("name"), 80
    )
    device = next((one for one in identifiers if is_accelerator(text(one.get("identifier")))), {})
    node = mapping(at(spec, "scheduling", "node")) or spec
    chosen = mapping(node.get("nodeSelector"))
    content = {
        "slug": slug(line(meta.get("name"), 200)),
        "name": title,
        "accelerator": _kind(text(device.get("identifier")), title) if device else "",
        "accelerator_count": _count(device) if device else 0,
        "resource": line(device.get("identifier"), 100),
        "cpu_millis": _millis(_default(identifiers, "cpu")),
        "host_memory_bytes": _bytes(_default(identifiers, "memory")),
        "node_selector": {line(key, 200): line(one, 63) for key, one in list(chosen.items())[:20]},
        "tolerations": [_toleration(one) for one in objects(node.get("tolerations"))[:20]],
        "queue": line(at(spec, "scheduling", "kueue", "localQueueName"), 63),
        "enabled": spec.get("enabled") is not False,
    }
    return Found(line(meta.get("namespace"), 63), line(meta.get("name"), 253), line(meta.get("uid"), 36), content)


def slug(name: str) -> str:
    """Return a name as the catalog takes it."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"p-{plain}"
    return plain[:MOST_SLUG].rstrip("-")


def _kind(resource: str, title: str) -> str:
    """Return what the accelerator is called: a product in the title, else the resource's own word."""
    product = PRODUCT.search(title)
    return (product[0] if product else resource.rpartition("/")[2] or resource)[:40]


def _count(device: Mapping[str, Any]) -> int:
    for key in ("defaultCount", "minCount"):
        if count := number(device.get(key)):
            return min(count, 64)
    return 1


def _default(identifiers: Any, name: str) -> str:
    named = (one.get("defaultCount") for one in identifiers if name in text(one.get("identifier")).lower())
    return str(next(named, "") or "")[:20]


def _bytes(value: str) -> int:
    found = QUANTITY.fullmatch(value)
    return min(int(found[1]) * UNITS.get(found[2] or "", 1), 2**50) if found else 0


def _millis(value: str) -> int:
    found = QUANTITY.fullmatch(value)
    if found is None or found[2] not in (None, "m"):
        return 0
    return min(int(found[1]) * (1 if found[2] else 1000), 1_000_000)


def _toleration(one: Mapping[str, Any]) -> dict[str, str]:
    return {key: line(one.get(key), 200) for key in ("key", "operator", "value", "effect") if one.get(key)}
