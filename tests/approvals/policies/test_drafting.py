"""A draft of the policies: one per person, file by file, whatever stands in it; and taking over what others did."""

import pytest

from approvals.models import PolicyDraft
from approvals.policies import drafting, placing
from approvals.policies.active import active, baseline
from approvals.policies.bundle import read
from audit.models import Row
from portal.errors import Conflict, Invalid, NotFound
from projects.models import GOVERNANCE_LEADS, User
from projects.principal import Principal
from tests.approvals.policies.kit import bundle, publish, rule, stage
from tests.conftest import Org

PATH = "rules/life-900.yaml"
TEXT = rule()[PATH]


@pytest.fixture
def by(org: Org) -> Principal:
    """The governance lead."""
    return Principal.of(org.yasmine)


def test_a_draft_begins_with_what_counts(org: Org, by: Principal) -> None:
    """Once; a second beginning finds it. It changes nothing that counts."""
    draft = drafting.begin(by)
    assert draft.files == baseline().files and draft.base == active().bundle.digest
    drafting.write(by, PATH, TEXT)
    assert drafting.begin(by).pk == draft.pk and PATH in drafting.begin(by).files
    assert (
        active().bundle.digest == baseline().digest and not Row.objects.filter(action__startswith="policies").exists()
    )


def test_everybody_has_their_own(org: Org, by: Principal) -> None:
    """Two governance leads do not write into each other's."""
    other = User.objects.create_user(username="grace", password="correct horse battery")
    other.groups.add(org.yasmine.groups.get(name=GOVERNANCE_LEADS))
    drafting.begin(by)
    drafting.begin(Principal.of(other))
    drafting.write(Principal.of(other), PATH, TEXT)
    mine = drafting.of(by)
    assert mine is not None and PATH not in mine.files and PolicyDraft.objects.count() == 2
    assert drafting.discard(by) and not drafting.discard(by) and PolicyDraft.objects.get().owner == other


def test_a_broken_text_is_kept(org: Org, by: Principal) -> None:
    """Nothing that was typed is lost: only publishing asks whether it is right."""
    drafting.begin(by)
    draft = drafting.write(by, PATH, "id: [\r\n")
    assert draft.files[PATH] == "id: [\n"
    assert drafting.remove(by, PATH).files == baseline().files


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x.yaml",
        "rules/../bundle.yaml",
        "/rules/x.yaml",
        "rules/a/b.yaml",
        "rules/x.yml",
        "rules/X.yaml",
        "rules/.yaml",
        "rules/x.yaml\n",
        "rules/x\0.yaml",
        f"rules/{'x' * 61}.yaml",
        "../../etc/passwd",
        "stages\\x.yaml",
    ],
)
def test_hostile_paths(org: Org, by: Principal, path: str) -> None:
    """A bundle has four places; nothing else is a file of it."""
    drafting.begin(by)
    with pytest.raises(Invalid) as error:
        drafting.write(by, path, "id: x\n")
    assert "path" in error.value.fields


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\0b", "U+0000"),
        ("x" * 65_537, "65,537"),
        ("é" * 40_000, "80,001"),
        ("a\x1bb", "U+001B"),
        ("\ud800", "U+D800"),
    ],
)
def test_hostile_texts(org: Org, by: Principal, text: str, words: str) -> None:
    """What no database keeps, or no bundle holds, is refused with the place and the limit; the draft stays."""
    before = drafting.begin(by).files
    if text.startswith("é"):
        text += "\n"
    with pytest.raises(Invalid, match=words.replace("+", r"\+")):
        drafting.write(by, PATH, text)
    assert drafting.begin(by).files == before


def test_a_draft_has_bounds(org: Org, by: Principal) -> None:
    """300 files and 2 MiB, like a bundle."""
    draft = drafting.begin(by)
    many = {f"rules/r{number}.yaml": "id: x\n" for number in range(300 - len(draft.files))}
    PolicyDraft.objects.update(files=draft.files | many)
    with pytest.raises(Invalid, match="limit is 300"):
        drafting.write(by, PATH, TEXT)
    PolicyDraft.objects.update(files={f"rules/r{number}.yaml": "#" * 65_000 for number in range(32)})
    with pytest.raises(Invalid, match="2,097,152"):
        drafting.write(by, PATH, "#" * 65_000)


def test_another_tab(org: Org, by: Principal) -> None:
    """A file that is not what the page showed is not written over."""
    drafting.begin(by)
    drafting.write(by, PATH, TEXT, seen="")
    seen = drafting.mark(TEXT)
    drafting.write(by, PATH, TEXT + "# one\n", seen=seen)
    for stale in (seen, ""):
        with pytest.raises(Conflict) as error:
            drafting.write(by, PATH, TEXT + "# two\n", seen=stale)
        assert error.value.code == "changed_meanwhile"
    kept = drafting.of(by)
    assert kept is not None and kept.files[PATH].endswith("# one\n")


def test_without_a_draft(org: Org, by: Principal) -> None:
    """There is nothing to write into, and nothing to take out."""
    for act in (lambda: drafting.write(by, PATH, TEXT), lambda: drafting.remove(by, PATH), lambda: drafting.rebase(by)):
        with pytest.raises(NotFound):
            act()
    drafting.begin(by)
    with pytest.raises(NotFound):
        drafting.remove(by, "rules/never-was.yaml")


def test_rebase(org: Org, by: Principal) -> None:
    """What others published comes in, what was changed here stays, and what both changed is named."""
    publish(org, rule(days=30), rule("life-901"), rule("life-902"))
    drafting.begin(by)
    drafting.write(by, PATH, rule(days=31)[PATH])
    drafting.remove(by, "rules/life-902.yaml")
    publish(org, rule(days=33), rule("life-901", days=44), rule("life-902"), stage())
    draft = drafting.of(by)
    assert draft is not None and drafting.is_behind(draft, active())
    done = drafting.rebase(by)
    assert done.both == [PATH] and not drafting.is_behind(done.draft, active())
    assert done.draft.files == bundle(rule(days=31), rule("life-901", days=44), stage())


# --- Places of mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "excerpt"),
    [
        ("id: x\n  y: [\n", 2, 4, "  y: [\n   ^"),
        ("id: x\nexpression: request.days <=\n", 2, 28, "expression: request.days <=\n                           ^"),
        ('id: x\nwhen: "1 +* 2"\n', 2, 11, 'when: "1 +* 2"\n          ^'),
        ("id: x\nexpression: |\n  true &&\n  1 +* 2\nfix: x\n", 4, 6, "  1 +* 2\n     ^"),
        ("id: x\nexpression: |\n  true &&\n\nfix: x\n", 3, 10, "  true &&\n         ^"),
        ("- a\n", 1, 1, "- a\n^"),
    ],
)
def test_a_mistake_has_its_place(text: str, line: int, column: int, excerpt: str) -> None:
    """Line, column and a caret below the character, in the file and not in the expression."""
    found = placing.problems(text)[0]
    assert (found.line, found.column, found.excerpt) == (line, column, excerpt), found


def test_folded_expressions_show_themselves() -> None:
    """Only YAML knows how it folded the lines: the excerpt is of the expression."""
    found = placing.problems("id: x\nexpression: >\n  true &&\n  1 +* 2\n")[0]
    assert found.line == 2 and found.excerpt.startswith("true && 1 +* 2\n") and found.excerpt.endswith("^")


def test_places_of_hostile_files() -> None:
    """Deep, long and odd ones end in a sentence."""
    for text in ("[" * 60_000, "a: &a [*a]\n", "\x00", "a: " + "x" * 60_000, "%YAML 9\n", "? {a: b}\n: c\n"):
        assert all(len(one.excerpt) < 250 for one in placing.problems(text))
    assert placing.problems(TEXT) == []


def test_a_draft_outlives_the_baseline_that_it_began_with(
    org: Org, by: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release of the portal ships another baseline; the draft is behind then, and can be taken along."""
    before = drafting.begin(by)
    drafting.write(by, PATH, TEXT)
    shipped = read(bundle(rule("life-905")))
    for module in ("active", "publishing"):
        monkeypatch.setattr(f"approvals.policies.{module}.baseline", lambda: shipped)
    draft = drafting.of(by)
    assert draft is not None and draft.base == before.base and drafting.is_behind(draft, active())
    assert drafting.rebase(by).draft.files == bundle(rule("life-905"), rule())
