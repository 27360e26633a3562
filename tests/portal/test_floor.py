"""The floor: environment, bounds of text, cursors, ETags, states, crypto."""

import uuid
from pathlib import Path

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from portal import crypto, env
from portal.errors import Conflict, Invalid, PreconditionFailed, PreconditionRequired
from portal.http import clean_text, cursor_page, etag, field_errors, require_match
from portal.states import move
from projects.models import ApiKey, KeyState, Project

# --- env
# ----------------------------------------------------------------------------------------------------------------


def test_text_reads_the_variable_then_its_file_then_the_default(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" from-file\n")
    assert env.text("X", env={"X": "plain", "X_FILE": str(file)}) == "plain"
    assert env.text("X", env={"X_FILE": str(file)}) == "from-file"
    assert env.text("X", "default", env={}) == "default"


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: env.text("X", example="right", env={}), ("X", "X=right")),
        (lambda: env.text("X", env={"X_FILE": "/nowhere/x"}), ("X_FILE", "/nowhere/x")),
        (lambda: env.number("X", 5, low=1, high=9, env={"X": "ten"}), ("X", "'ten'", "X=5")),
        (lambda: env.number("X", 5, low=1, high=9, env={"X": "10"}), ("X", "between 1 and 9")),
        (lambda: env.flag("X", True, env={"X": "maybe"}), ("X", "'maybe'", "X=1")),
        (lambda: env.choice("X", "a", ("a", "b"), env={"X": "c"}), ("X", "a, b")),
        (lambda: env.database("mysql://h/d", Path("x")), ("DATABASE_URL", "postgres://")),
        (lambda: env.database("postgres://host", Path("x")), ("DATABASE_URL",)),
        (lambda: env.redis("http://h"), ("REDIS_URL", "redis://")),
    ],
)
def test_a_wrong_variable_is_one_sentence_with_a_right_example(call, names: tuple[str, ...]) -> None:
    with pytest.raises(env.EnvError) as error:
        call()
    assert all(name in str(error.value) for name in names), str(error.value)
    assert "\n" not in str(error.value)


def test_database_and_redis_urls() -> None:
    found = env.database("postgres://me:p%40ss@db.example.com:5433/gatehouse?sslmode=require", Path("x"))
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "me", "p@ss", "db.example.com", "5433", "gatehouse",
    )  # fmt: skip
    assert found["OPTIONS"]["sslmode"] == "require"  # type: ignore[index]
    assert env.redis("unix:///run/b.sock")["celery"].startswith("redis+socket:///run/b.sock")
    assert env.redis("redis://:pw@cache:6379")["cache"] == "redis://:pw@cache:6379/1"


# --- http
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "must be text"),
        (5, "must be text"),
        ("", "at least 1"),
        ("   ", "at least 1"),
        ("x" * 11, "limit is 10"),
        ("x" * 1_000_000, "limit is 10"),
        ("a\x00b", "control character"),
        ("a\x1bb", "control character"),
        ("a\nb", "control character"),
        ("\ud800", "control character"),
    ],
)
def test_clean_text_names_field_limit_and_fix(value: object, sentence: str) -> None:
    with pytest.raises(Invalid) as error:
        clean_text(value, field="purpose", low=1, high=10)
    assert "purpose" in error.value.fields and sentence in error.value.sentence


@given(st.text(max_size=200))
def test_clean_text_never_fails_otherwise(text: str) -> None:
    try:
        cleaned = clean_text(text, field="f", high=100, lines=True)
    except Invalid:
        return
    assert len(cleaned) <= 100 and cleaned == cleaned.strip() and "\r" not in cleaned


@pytest.mark.django_db
def test_cursor_pages_show_every_row_once_while_rows_are_added() -> None:
    for number in range(7):
        Project.objects.create(slug=f"p{number}", name=f"Name {number % 2}")
    seen, cursor = [], None
    for _ in range(10):
        rows, cursor = cursor_page(Project.objects.all(), limit=2, cursor=cursor, order=("-name", "slug"))
        seen += [row.slug for row in rows]
        Project.objects.get_or_create(slug="a-new-one", defaults={"name": "Name 9"})  # before the cursor: never shown
        if cursor is None:
            break
    assert seen == ["p1", "p3", "p5", "p0", "p2", "p4", "p6"]


@pytest.mark.django_db
@pytest.mark.parametrize("cursor", ["x", "!!!", "bnVsbA", "WzFd", "W251bGwsbnVsbF0", "eyJhIjoxfQ", "A" * 5000])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as error:
        cursor_page(Project.objects.all(), limit=None, cursor=cursor, order=("-created_at", "id"))
    assert "cursor" in error.value.fields


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [0, -1, 201, 10**9])
def test_a_limit_out_of_bounds_is_refused(limit: int) -> None:
    with pytest.raises(Invalid) as error:
        cursor_page(Project.objects.all(), limit=limit, cursor=None, order=("id",))
    assert "between 1 and 200" in error.value.sentence


def test_if_match() -> None:
    requests, body = RequestFactory(), {"a": 1}
    with pytest.raises(PreconditionRequired):
        require_match(requests.patch("/"), body)
    with pytest.raises(PreconditionFailed):
        require_match(requests.patch("/", headers={"If-Match": '"old"'}), body)
    require_match(requests.patch("/", headers={"If-Match": f'"x", {etag(body)}'}), body)
    require_match(requests.patch("/", headers={"If-Match": "*"}), body)


# --- states and crypto -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_move_knows_the_arrows_and_lets_one_win() -> None:
    with pytest.raises(Conflict):
        move(ApiKey.objects.all(), KeyState.REVOKED, KeyState.ACTIVE)
    assert move(ApiKey.objects.filter(pk=uuid.uuid4()), KeyState.ACTIVE, KeyState.REVOKED) is False


def test_encryption_opens_with_old_keys_and_seals_with_the_newest(settings) -> None:
    old, new = crypto.new_encryption_key(), crypto.new_encryption_key()
    settings.GATEHOUSE_ENCRYPTION_KEYS = [old]
    sealed = crypto.encrypt("secret")
    assert "secret" not in sealed
    settings.GATEHOUSE_ENCRYPTION_KEYS = [new, old]
    assert crypto.decrypt(sealed) == "secret"
    rotated = crypto.rotate(sealed)
    settings.GATEHOUSE_ENCRYPTION_KEYS = [new]
    assert crypto.decrypt(rotated) == "secret"
    with pytest.raises(ValueError, match="GATEHOUSE_ENCRYPTION_KEYS"):
        crypto.decrypt(sealed)


def test_a_derived_secret_is_the_same_each_time_and_another_for_each_purpose_and_key(settings) -> None:
    old, new = crypto.new_encryption_key(), crypto.new_encryption_key()
    settings.GATEHOUSE_ENCRYPTION_KEYS = [old]
    (first,) = crypto.derived("engine 1")
    assert crypto.derived("engine 1") == [first] and crypto.derived("engine 2") != [first] and len(first) >= 43
    settings.GATEHOUSE_ENCRYPTION_KEYS = [new, old]
    newest, same = crypto.derived("engine 1")
    assert same == first != newest


def test_a_value_that_is_not_known_is_not_called_none() -> None:
    details = [{"loc": ("body", "soft"), "type": "greater_than_equal", "ctx": {"ge": 0}}]
    assert field_errors(details).sentence == "soft: the least is 0. Choose a larger value."
    assert field_errors([details[0] | {"input": -5}]).sentence.startswith("soft is -5; the least is 0.")
