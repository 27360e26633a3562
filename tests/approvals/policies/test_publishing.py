"""Publishing a bundle: who may, what is refused, what it leaves behind; and rolling back."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from approvals import services
from approvals.models import Bundle, PolicyDraft, Publication
from approvals.policies import drafting, publishing
from approvals.policies.active import active, baseline
from audit.models import Row
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from projects.models import Notification
from projects.principal import Principal
from tests.approvals.policies.kit import bundle, publish, rule, stage
from tests.conftest import Org
from tests.factories import make_cluster, make_profile, make_version, request_body

pytestmark = pytest.mark.slow


def checks(org: Org, **fields: Any) -> dict[str, str]:
    """What the policies say of a request of dana's: rule → verdict."""
    make_cluster()
    version, profile = make_version(), make_profile()
    body = request_body(asset=version.asset.slug, hardware_profile=profile.slug, **fields)
    found = services.check(Principal.of(org.dana), body)["checks"]
    return {check["id"]: check["verdict"] for check in found if check["source"] == "policy"}


def test_publish_works(org: Org) -> None:
    """From then on its rules judge; the row, the version and the news say so."""
    made = publish(org, rule(days=30, severity="deny"), reason="Shorter lives.")
    today = timezone.now().date()
    assert (made.number, made.version) == (1, f"{today.year}.{today.month}.1")
    assert active().bundle.digest == made.bundle.digest and active().version == made.version
    assert checks(org) == {"life-900": "fail"}  # it ends in 60 days
    row = Row.objects.get(action="policies.publish")
    assert row.reason == "Shorter lives." and baseline().digest in row.before and made.bundle.digest in row.after
    told = set(Notification.objects.filter(kind="policies.published").values_list("person__username", flat=True))
    assert told == {"pat", "ravi"}  # yasmine did it herself


def test_versions_count_within_their_month(org: Org) -> None:
    """The first of another month is 1 again."""
    with time_machine.travel(dt.datetime(2026, 11, 30, 23, 50, tzinfo=dt.UTC), tick=False):
        assert [publish(org, rule(days=days)).version for days in (10, 11)] == ["2026.11.1", "2026.11.2"]
    with time_machine.travel(dt.datetime(2026, 12, 1, tzinfo=dt.UTC), tick=False):
        assert publish(org, rule(days=12)).version == "2026.12.1"


@pytest.mark.parametrize("name", ["dana", "omar", "vic", "cy", "pat", "aud"])
def test_only_governance_leads_publish(org: Org, name: str) -> None:
    """Everybody else is refused in every verb, and nothing is left of it."""
    by = Principal.of(getattr(org, name))
    for act in (
        lambda: publishing.publish(by, bundle(), reason="No."),
        lambda: publishing.roll_back(by, 0, reason="No."),
        lambda: drafting.begin(by),
        lambda: drafting.write(by, "rules/x.yaml", "id: x\n"),
        lambda: drafting.discard(by),
        lambda: drafting.rebase(by),
    ):
        with pytest.raises(Forbidden, match="governance lead"):
            act()
    assert not Publication.objects.exists() and not PolicyDraft.objects.exists()


def test_a_red_test_is_refused(org: Org) -> None:
    """With its name, what it expects and what it got; nothing is published."""
    with pytest.raises(Invalid) as error:
        publish(org, rule(), rule("life-901", red=True))
    assert error.value.code == "tests_failed" and error.value.status == 422
    assert "life-901.yaml, “wrong”: expects fail and gets pass" in error.value.sentence
    assert list(error.value.fields) == ["rules/life-901.yaml: wrong"]
    assert not Publication.objects.exists() and not Bundle.objects.exists()
    assert not Row.objects.filter(action="policies.publish").exists()


def test_the_same_bundle_is_refused(org: Org) -> None:
    """What counts already needs no version of its own; the baseline neither."""
    publish(org, rule())
    with pytest.raises(Conflict, match="this very bundle") as error:
        publish(org, rule())
    assert error.value.code == "same_bundle"
    by = Principal.of(org.yasmine)
    with pytest.raises(Conflict, match="this very bundle"):
        publishing.roll_back(by, 1, reason="Again.")
    assert Publication.objects.count() == 1


def test_the_base_is_compared(org: Org) -> None:
    """Who wrote against another bundle than the one that counts is told so."""
    first = baseline().digest
    publish(org, rule())
    by = Principal.of(org.yasmine)
    with pytest.raises(Conflict, match="meanwhile") as error:
        publishing.publish(by, bundle(rule(days=7)), reason="Shorter.", expected=first)
    assert error.value.code == "changed_meanwhile" and error.value.status == 409
    made = publishing.publish(by, bundle(rule(days=7)), reason="Shorter.", expected=active().bundle.digest)
    assert made.number == 2


def test_a_reason_is_needed(org: Org) -> None:
    """Whoever is judged by a rule can read why it came."""
    for reason in ("", "  ", "x" * 2001, "a\0b"):
        with pytest.raises(Invalid) as error:
            publish(org, rule(), reason=reason)
        assert "reason" in error.value.fields


def test_roll_back(org: Org) -> None:
    """The earlier bundle counts again under a new version; history keeps all three."""
    first = publish(org, rule(days=30, severity="deny"))
    publish(org, rule(days=365, severity="deny"), stage())
    assert checks(org) == {"life-900": "pass"}
    by = Principal.of(org.yasmine)
    back = publishing.roll_back(by, first.number, reason="Too lax.")
    assert back.number == 3 and back.rolled_back and back.bundle_id == first.bundle_id
    assert checks(org) == {"life-900": "fail"}
    assert Bundle.objects.count() == 2 and Publication.objects.count() == 3
    assert Row.objects.get(action="policies.roll_back").reason == "Too lax."
    assert (
        publishing.roll_back(by, 0, reason="From the start.").bundle.digest
        == baseline().digest
        == (active().bundle.digest)
    )


def test_roll_back_to_nothing(org: Org) -> None:
    """A number that never was is 404, however large."""
    for number in (1, 99, 2**31, 10**40):
        with pytest.raises(NotFound):
            publishing.roll_back(Principal.of(org.yasmine), number, reason="No.")


def test_a_published_draft_is_gone(org: Org) -> None:
    """But one that says something else stays."""
    by = Principal.of(org.yasmine)
    draft = drafting.begin(by)
    publish(org, rule())
    assert PolicyDraft.objects.filter(pk=draft.pk).exists()
    drafting.rebase(by)
    draft = drafting.write(by, "rules/life-902.yaml", rule("life-902")["rules/life-902.yaml"])
    publishing.publish(by, draft.files, reason="One more.", expected=draft.base)
    assert not PolicyDraft.objects.exists() and len(active().bundle.rules) == 2


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nid: *c\n"
HOSTILE: dict[str, dict[str, Any]] = {
    "traversal": {"rules/../../etc/passwd.yaml": "id: x\n"},
    "absolute": {"/etc/passwd": "id: x\n"},
    "backslash": {"rules\\x.yaml": "id: x\n"},
    "nul in the path": {"rules/x\0.yaml": "id: x\n"},
    "capitals": {"rules/X.yaml": "id: x\n"},
    "ten megabytes": {"rules/big.yaml": "#" * 10_000_000},
    "a bomb": {"rules/bomb.yaml": BOMB},
    "nul": {"rules/nul.yaml": "id: x\0y\n"},
    "half a pair": {"rules/half.yaml": "id: \ud800\n"},
    "a tag": {"rules/tag.yaml": "!!python/object/apply:os.system ['true']\n"},
    "nested": {"rules/deep.yaml": "[" * 50_000},
    "two ids": {**rule("life-903"), "rules/life-904.yaml": rule("life-903")["rules/life-903.yaml"]},
    "a list": {"rules/list.yaml": "- a\n- b\n"},
    "many files": {f"rules/r{number}.yaml": "id: x\n" for number in range(301)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(org: Org, name: str) -> None:
    """Each in a sentence that names the file; none is read further, none is kept."""
    with pytest.raises(Invalid) as error:
        publish(org, HOSTILE[name])
    assert error.value.fields and len(error.value.sentence) < 2000
    assert not Bundle.objects.exists() and not Publication.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["nothing published", "something published"])
def test_two_publishers_at_the_same_instant(org: Org, based: bool, first: bool) -> None:
    """One wins; the other one is told that somebody was faster, or comes after it where it named no base."""
    if not first:
        publish(org, rule(days=5))
    count, base = Publication.objects.count(), active().bundle.digest
    barrier = threading.Barrier(2)

    def publishing_with(days: int) -> Callable[[], str]:
        def run() -> str:
            by = Principal.of(org.yasmine)
            barrier.wait(timeout=10)
            try:
                made = publishing.publish(by, bundle(rule(days=days)), reason="Mine.", expected=base if based else "")
            except GatehouseError as error:
                return error.code
            finally:
                connection.close()
            return f"published {made.number}"

        return run

    with ThreadPoolExecutor(2) as pool:
        results = sorted(task.result(timeout=60) for task in [pool.submit(publishing_with(n)) for n in (6, 7)])
    numbers = list(Publication.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    lost = results == ["changed_meanwhile", f"published {count + 1}"]
    assert lost or (not based and results == [f"published {count + 1}", f"published {count + 2}"])
    assert Publication.objects.count() - count == Row.objects.filter(action="policies.publish").count() - count


def test_the_command_publishes(org: Org, tmp_path: Path) -> None:
    """As the governance lead who answers for it; anybody else is refused, and so is a red test."""

    def run(files: dict[str, str], user: str, **options: str) -> str:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        out = StringIO()
        call_command(
            "policies", "publish", str(tmp_path), user=user, reason="From the repository.", stdout=out, **options
        )
        return out.getvalue()

    with pytest.raises(CommandError, match="1 of 3 tests fail"):
        run(bundle(rule(red=True)), "yasmine")
    for user, words in (("pat", "governance lead"), ("nobody-here", "no active user")):
        with pytest.raises(CommandError, match=words):
            run(bundle(rule()), user)
    with pytest.raises(CommandError, match="meanwhile"):
        run(bundle(rule()), "yasmine", base="sha256:0")
    assert not Publication.objects.exists()
    said = run(bundle(rule()), "yasmine")
    assert active().bundle.digest in said and active().version in said
    assert Row.objects.get(action="policies.publish").via == "command"
