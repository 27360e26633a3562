"""The next bundle while it is written: one draft per person, file by file. Only publishing makes it count.

A draft may be broken, so that nothing that was typed is lost; what it may not be is too large or unkeepable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from approvals.models import Bundle as Stored
from approvals.models import PolicyDraft
from approvals.policies.active import Active, active, by_digest
from approvals.policies.bundle import MAX_BUNDLE, MAX_FILE, MAX_FILES
from approvals.policies.publishing import changed, keep
from approvals.policies.reading import PATH, PLACES
from portal.errors import Conflict, Invalid, NotFound
from portal.http import digest
from projects.permissions import require_anywhere
from projects.principal import Principal


@dataclass(frozen=True)
class Rebased:
    """A draft that stands on the newest publication. `both`: files that both sides changed; the draft's text stays."""

    draft: PolicyDraft
    both: list[str]


def of(by: Principal) -> PolicyDraft | None:
    """Return the draft of `by`, if there is one."""
    return PolicyDraft.objects.filter(owner=by.person).first()


def begin(by: Principal) -> PolicyDraft:
    """Return the draft of `by`, begun from the bundle that counts where there was none. Raises Forbidden."""
    require_anywhere(by, "publish", Stored)
    now = active()
    start = {"base": now.bundle.digest, "files": dict(now.bundle.files)}
    with transaction.atomic():
        keep(now.bundle)
        draft, _ = PolicyDraft.objects.get_or_create(owner=by.person, defaults=start)
    return draft


def write(by: Principal, path: str, text: str, *, seen: str | None = None) -> PolicyDraft:
    """Change a file of the draft, or add it. `seen`: digest of the text that was on the page, see `mark`.

    Raises Forbidden, NotFound without a draft, Invalid for a path or text that no bundle holds, and Conflict
    `changed_meanwhile` when the file is not what was seen (another tab wrote it).
    """
    require_anywhere(by, "publish", Stored)
    clean_path(path)
    kept = clean_file(text)
    with transaction.atomic():
        draft = _locked(by)
        files = {**draft.files, path: kept}
        if seen is not None and seen != mark(draft.files.get(path)):
            raise Conflict(
                f"{path} was changed elsewhere, perhaps in another tab. Copy your text, open the file again and"
                " repeat the change.",
                code="changed_meanwhile",
            )
        _require_room(files)
        draft.files = files
        draft.save(update_fields=["files", "updated_at"])
    return draft


def remove(by: Principal, path: str) -> PolicyDraft:
    """Take a file out of the draft. Raises Forbidden, and NotFound when there is no such file."""
    require_anywhere(by, "publish", Stored)
    with transaction.atomic():
        draft = _locked(by)
        if path not in draft.files:
            raise NotFound(f"The draft has no file {path[:80]!r}.")
        draft.files = {name: text for name, text in draft.files.items() if name != path}
        draft.save(update_fields=["files", "updated_at"])
    return draft


def discard(by: Principal) -> bool:
    """Throw the draft of `by` away; returns whether there was one. Raises Forbidden."""
    require_anywhere(by, "publish", Stored)
    return PolicyDraft.objects.filter(owner=by.person).delete()[0] > 0


def rebase(by: Principal) -> Rebased:
    """Let the draft stand on the bundle that counts now: what it did not change itself is taken from there.

    Raises Forbidden, and NotFound without a draft.
    """
    require_anywhere(by, "publish", Stored)
    with transaction.atomic():
        draft, now = _locked(by), active()
        keep(now.bundle)
        base, theirs = by_digest(draft.base).files, now.bundle.files
        mine, moved = changed(base, draft.files), changed(base, theirs)
        files = dict(theirs)
        for path in mine:
            if path in draft.files:
                files[path] = draft.files[path]
            else:
                files.pop(path, None)
        draft.files, draft.base = files, now.bundle.digest
        draft.save(update_fields=["files", "base", "updated_at"])
    return Rebased(draft, sorted(set(mine) & set(moved)))


def is_behind(draft: PolicyDraft, now: Active) -> bool:
    """Whether another bundle was published since the draft began."""
    return draft.base != now.bundle.digest


def mark(text: str | None) -> str:
    """Return what a page remembers of the text of a file, to tell whether it changed since; "" for no file."""
    return "" if text is None else digest(text)


def clean_path(path: str) -> str:
    """Return `path`; raises Invalid unless a bundle may hold a file there."""
    if not PATH.fullmatch(path):
        raise Invalid.field("path", f"path is {path[:80]!r}; use {PLACES}.")
    return path


def clean_file(text: str) -> str:
    """Return the text of a file with the line ends of the house; raises Invalid for one that no bundle holds."""
    if len(text) > MAX_FILE:
        words = f"The file has {len(text):,} characters; the limit is {MAX_FILE:,} bytes. Split it."
        raise Invalid.field("text", words)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for place, char in enumerate(text):
        if (ord(char) < 32 and char not in "\n\t") or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000:
            line = text.count("\n", 0, place) + 1
            raise Invalid.field("text", f"Line {line} holds the control character U+{ord(char):04X}. Remove it.")
    size = len(text.encode())
    if size > MAX_FILE:
        raise Invalid.field("text", f"The file has {size:,} bytes; the limit is {MAX_FILE:,}. Split it.")
    return text if text.endswith("\n") or not text else f"{text}\n"


def _require_room(files: Mapping[str, str]) -> None:
    if len(files) > MAX_FILES:
        raise Invalid.field("path", f"The draft would have {len(files)} files; the limit is {MAX_FILES}. Remove one.")
    size = sum(len(text.encode()) for text in files.values())
    if size > MAX_BUNDLE:
        raise Invalid.field("text", f"The draft would have {size:,} bytes; the limit is {MAX_BUNDLE:,}. Shorten it.")


def _locked(by: Principal) -> PolicyDraft:
    draft = PolicyDraft.objects.select_for_update().filter(owner=by.person).first()
    if draft is None:
        raise NotFound("You have no draft of the policies. Begin one on the page Policies.")
    return draft
