"""Adding documents about a version: a signature, a vendor's ML-BOM, a Scorecard result, provenance, a measurement.

A version never changes; what is known about it may grow. What a document is worth, the checks say.
"""

import hashlib

from django.db import transaction

from audit.services import record
from catalog import asking, evidence
from catalog.collecting import instantly, require_collect, schedule
from catalog.evidence.attachments import CHECKS
from catalog.listings import refresh
from catalog.models import Attachment, Version
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.principal import Principal

MOST = 50  # documents of a version
NAME = 120


def attach(by: Principal, version: Version, kind: str, name: str, content: str) -> Attachment:
    """Add a document about `version` and have it judged; the same document again changes nothing.

    `content` is JSON of at most 1 MB. Raises NotFound, Forbidden, RateLimited, Invalid naming the field, and Conflict
    `too_many_attachments`.
    """
    require_collect(by, version)
    if kind not in CHECKS:
        raise Invalid.field("kind", f"kind is {kind[:20]!r}; choose one of {', '.join(sorted(CHECKS))}.")
    title = clean_text(name, field="name", low=1, high=NAME)
    CHECKS[kind](content)
    digest = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    with transaction.atomic():
        Version.objects.select_for_update(of=("self",)).get(pk=version.pk)  # two at once count one after the other
        present = version.attachments.filter(kind=kind, digest=digest).first()
        if present is not None:
            return present
        asking.count(by)
        if version.attachments.count() >= MOST:
            raise Conflict(
                f"{version.asset.slug} {version.version} has {MOST} documents, the limit. Add them to a new version.",
                code="too_many_attachments",
            )
        made = Attachment.objects.create(
            version=version, kind=kind, name=title, content=content, digest=digest, added_by=by.user
        )
        after = {"asset": version.asset.slug, "version": version.version, "kind": kind, "name": title}
        record("catalog.attach", by=by, obj=version, after=after | {"digest": digest})
        instantly(by, version)
        schedule(version, [one.KIND for one in evidence.drivers(version, content=True) if kind == one.KIND], by=by)
        refresh(version.asset)
    return made
