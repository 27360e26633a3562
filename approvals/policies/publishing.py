"""Publishing a bundle, and rolling back to an earlier one: the only ways to change what the policies say."""

from collections.abc import Iterable, Mapping

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from approvals import findings
from approvals.models import Bundle as Stored
from approvals.models import PolicyDraft, Publication
from approvals.policies import bundle as bundles
from approvals.policies.active import SHIPPED, baseline
from approvals.policies.bundle import Bundle, TestResult
from audit.services import record
from portal.errors import Conflict, Invalid, NotFound
from portal.http import clean_text
from projects.notify.audience import governance_leads, platform_engineers
from projects.notify.services import tell
from projects.permissions import require_anywhere
from projects.principal import Principal

MAX_REASON = 2000
SHOWN = 20  # red tests that an error names; changed files that an audit row names


def publish(by: Principal, files: Mapping[str, str], *, reason: str, expected: str = "") -> Publication:
    """Make `files` ({path: text}) the bundle that counts. `expected`: digest of the bundle that they were written
    against; "" publishes over whatever counts now.

    Raises Forbidden; Invalid for files that are no bundle, `tests_failed` when one of its own tests is red; Conflict
    `changed_meanwhile` when another bundle counts than `expected`, `same_bundle` when it counts already.
    """
    require_anywhere(by, "publish", Stored)
    text = clean_text(reason, field="reason", low=1, high=MAX_REASON, lines=True)
    return _publish(by, proven(files), text, expected=expected)


def roll_back(by: Principal, number: int, *, reason: str, expected: str = "") -> Publication:
    """Publish the bundle of publication `number` once more; 0 is the baseline that ships.

    Raises as `publish` does (its tests run again, on the engine of today), and NotFound for an unknown number.
    """
    require_anywhere(by, "publish", Stored)
    text = clean_text(reason, field="reason", low=1, high=MAX_REASON, lines=True)
    return _publish(by, proven(files_of(number)), text, expected=expected, back_to=number)


def files_of(number: int) -> Mapping[str, str]:
    """Return the files of publication `number`, 0 for the baseline that ships; raises NotFound."""
    if number == 0:
        return baseline().files
    # Numbers of other databases' size would be an error of the driver.
    found = Publication.objects.select_related("bundle").filter(number=number).first() if number < 2**31 else None
    if found is None:
        raise NotFound(f"There is no publication {number}. The page Policies lists them.")
    files: Mapping[str, str] = found.bundle.files
    return files


def proven(files: Mapping[str, str]) -> Bundle:
    """Return the bundle in `files`; raises Invalid when it is none, and `tests_failed` naming each red test."""
    bundle = bundles.read(files)
    results = bundles.run_tests(bundle)
    red = [result for result in results if not result.passed]
    if red:
        words = [f"{one.path}, “{one.name}”: {failure(one)}" for one in red[:SHOWN]]
        more = f" And {len(red) - SHOWN} more." if len(red) > SHOWN else ""
        raise Invalid(
            f"{len(red)} of {len(results)} tests fail. {' '.join(words)}{more} Mend the rule or the test.",
            code="tests_failed",
            fields={f"{one.path}: {one.name}": failure(one) for one in red[:SHOWN]},
        )
    return bundle


def failure(result: TestResult) -> str:
    """Return in one sentence what is wrong with a red test."""
    return f"expects {result.expect} and gets {result.got}{f' ({result.why})' if result.why else ''}."


def keep(bundle: Bundle) -> Stored:
    """Keep the files of `bundle` under their digest, for whatever names it: the baseline changes with the portal."""
    facts = {"name": bundle.name, "files": dict(bundle.files), "rules": len(bundle.rules)}
    return Stored.objects.get_or_create(digest=bundle.digest, defaults=facts)[0]


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the paths of the files that are new, gone or different."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _publish(by: Principal, bundle: Bundle, reason: str, *, expected: str, back_to: int | None = None) -> Publication:
    action = "policies.publish" if back_to is None else "policies.roll_back"
    with transaction.atomic():
        # The lock makes the second of two publishers wait; it then compares with what the first one published. Where
        # nothing was published yet there is nothing to lock: the unique number lets one of them through.
        newest = Publication.objects.select_for_update(of=("self",)).select_related("bundle").first()
        version, counts = (newest.version, newest.bundle) if newest else (SHIPPED, baseline())
        before, files = counts.digest, counts.files
        if expected and expected != before:
            raise _changed_meanwhile(version)
        if bundle.digest == before:
            raise Conflict(f"Version {version} is this very bundle; there is nothing to publish.", code="same_bundle")
        made = _numbered(by, bundle, reason, newest.number if newest else 0, back_to is not None)
        names = changed(files, bundle.files)
        record(
            action,
            by=by,
            obj=made,
            before={"version": version, "digest": before},
            after={
                "version": made.version, "digest": bundle.digest, "rules": len(bundle.rules), "changed": len(names),
                "files": names[:SHOWN],
            },
            reason=reason,
        )  # fmt: skip
        PolicyDraft.objects.filter(owner=by.person, files=dict(bundle.files)).delete()  # it is no draft any more
        _tell(by, made, reason, names, back_to)
        transaction.on_commit(findings.nudge)
    return made


def _numbered(by: Principal, bundle: Bundle, reason: str, last: int, rolled_back: bool) -> Publication:
    stored = keep(bundle)
    version = _version(Publication.objects.values_list("version", flat=True)[:1])
    try:
        with transaction.atomic():
            return Publication.objects.create(
                number=last + 1, version=version, bundle=stored, reason=reason, rolled_back=rolled_back, by=by.user
            )
    except IntegrityError as error:
        raise _changed_meanwhile(version) from error


def _version(newest: Iterable[str]) -> str:
    """Return the version after `newest`: year, month, and the how-manieth in it."""
    today = timezone.now().date()
    month = f"{today.year}.{today.month}."
    last = next((int(one.removeprefix(month)) for one in newest if one.startswith(month)), 0)
    return f"{month}{last + 1}"


def _changed_meanwhile(version: str) -> Conflict:
    return Conflict(
        f"Somebody published {version} meanwhile. Take its changes over, look at the impact, and publish again.",
        code="changed_meanwhile",
    )


def _tell(by: Principal, made: Publication, reason: str, names: list[str], back_to: int | None) -> None:
    files = f"{len(names)} file{'s' if len(names) != 1 else ''} changed"
    what = "published" if back_to is None else "rolled the policies back, as"
    people = {one.pk: one for one in (*governance_leads(), *platform_engineers()) if one.pk != by.person.pk}
    tell(
        "policies.published",
        people.values(),
        title=f"{by.name} {what} version {made.version} of the policies: {files}.",
        text=reason,
        url=reverse("policy_list"),
        about=("publication", str(made.pk)),
        once=f"policies:{made.number}",
        data={"version": made.version, "digest": made.bundle.digest, "rolled_back": made.rolled_back},
    )
