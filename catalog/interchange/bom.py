"""The ML-BOM of a version: CycloneDX 1.7, made from the catalog whenever somebody asks, always with the same bytes.

The library writes the frame; it knows no model cards, and would drop one that it reads, so the card is put into the
document afterwards, and a document that came from a vendor is kept as the text that came.
"""

import json
import re
import uuid
from typing import Any
from urllib.parse import quote, urlsplit

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot7
from packageurl import PackageURL

from catalog.interchange.cards import model_card
from catalog.models import Attachment, Kind, Pin, Version
from portal.http import digest

KIND = "ml-bom"  # of the attachment
MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.7"
FILES = 200  # components of a document; a schema that compares each with each takes the square of their number
_NAMESPACE = uuid.UUID("6f0c3f5e-4f0e-5f7e-9c1b-2f1f5d1f8a11")  # of serial numbers
_UNKNOWN = {"NOASSERTION", "NONE"}


def generate(version: Version) -> dict[str, Any]:
    """Return the ML-BOM of `version` (with `asset` and `pin` selected): the same for the same version, pin and card."""
    pin = pin_of(version)
    subject, files = _subject(version, pin), _files(pin) if pin else []
    when = BomMetaData(timestamp=version.approved_at or version.created_at, component=subject)
    bom = Bom(serial_number=_NAMESPACE, metadata=when, components=files)
    bom.register_dependency(subject, files)
    document: dict[str, Any] = json.loads(JsonV1Dot7(bom).output_as_string())
    if version.asset.kind == Kind.MODEL:
        document["metadata"]["component"]["modelCard"] = model_card(version)
    document["serialNumber"] = uuid.uuid5(_NAMESPACE, digest(document)).urn  # over all that it says
    return document


def text_of(version: Version) -> str:
    """Return the ML-BOM of `version` as the file that people download."""
    return json.dumps(generate(version), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def vendors(version: Version) -> Attachment | None:
    """Return the newest ML-BOM that somebody added for `version`; its content is the text that came."""
    return version.attachments.filter(kind=KIND).order_by("-added_at", "-id").first()


def pin_of(version: Version) -> Pin | None:
    """Return the pin of `version` once its content is resolved."""
    pin: Pin | None = getattr(version, "pin", None)
    return pin if pin is not None and pin.digest else None


def purl(version: Version) -> PackageURL | None:
    """Return the package URL of the source, None where that kind has none: pkg:huggingface/org/model@commit."""
    pin = pin_of(version)
    scheme, _, rest = version.source.partition("://")
    place, _, revision = rest.partition("@")
    revision = pin.revision if pin and pin.revision else revision
    if scheme == "hf":
        owner, _, name = place.partition("/")
        return PackageURL("huggingface", owner, name, revision.lower() or None) if name else None
    if scheme == "oci":
        where, _, name = place.rpartition("/")
        return PackageURL("oci", None, name.lower(), revision or None, {"repository_url": f"{where}/{name}"})
    return None


def _subject(version: Version, pin: Pin | None) -> Component:
    asset = version.asset
    properties = {
        "gatehouse:asset": asset.slug,
        "gatehouse:source": version.source,
        "gatehouse:specification": version.digest,
    }
    if pin:
        properties |= {"gatehouse:revision": pin.revision, "gatehouse:content": pin.digest}
        properties |= {"gatehouse:files": str(len(pin.files)), "gatehouse:bytes": str(pin.total_bytes)}
    return Component(
        bom_ref=f"{asset.slug}@{version.version}",
        type=ComponentType.MACHINE_LEARNING_MODEL if asset.kind == Kind.MODEL else ComponentType.APPLICATION,
        group=asset.publisher or None,
        name=asset.name,
        version=version.version,
        description=asset.summary or None,
        purl=purl(version),
        licenses=[_licence(version.licence)],
        external_references=_references(version),
        properties=[Property(name=name, value=value) for name, value in properties.items() if value],
    )


def _licence(expression: str) -> License:
    if expression in _UNKNOWN:
        return DisjunctiveLicense(name=expression)
    if "LicenseRef-" in expression:  # SPDX allows them, and the factory does not know them
        return LicenseExpression(expression)
    return LicenseFactory().make_from_string(expression)


def _references(version: Version) -> list[ExternalReference]:
    facts = version.facts
    wanted = [
        (ExternalReferenceType.WEBSITE, version.asset.homepage),
        (ExternalReferenceType.VCS, facts.get("repository", "")),
        (ExternalReferenceType.DOCUMENTATION, facts.get("recheck", "")),
    ]
    wanted += [(ExternalReferenceType.OTHER, remote.get("url", "")) for remote in facts.get("remotes", [])]
    return [ExternalReference(type=kind, url=XsUri(iri)) for kind, url in wanted if url and (iri := _iri(url))]


def _iri(url: str) -> str:
    """Return `url` with what an address may not hold escaped: those of the catalog are checked less strictly. "" for
    one that has no such form.
    """
    try:
        host = urlsplit(url).netloc
    except ValueError:
        return ""
    escaped = quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", url), safe="%/:?#@!$&'()*+,;=~")
    return "" if "[" in host or escaped.count("#") > 1 else escaped


def _files(pin: Pin) -> list[Component]:
    """Return the pinned files, the largest first where there are too many; the subject says how many there are."""
    kept = sorted(pin.files, key=lambda item: (-int(item["bytes"]), item["path"]))[:FILES]
    return [
        Component(
            bom_ref=f"file:{item['path']}",
            type=ComponentType.FILE,
            name=item["path"],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=item["sha256"])],
            properties=[Property(name="gatehouse:bytes", value=str(item["bytes"]))],
        )
        for item in kept
    ]
