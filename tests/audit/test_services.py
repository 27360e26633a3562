"""The append-only memory: rows in the transaction of the change, seals, verification."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from audit import services, triggers
from audit.checks import append_only
from audit.models import Row, Seal, Subject


def write(action: str = "things.change", **fields: object) -> Row:
    with transaction.atomic():
        services.record(action, by=services.system("test"), obj=("thing", "1"), **fields)  # type: ignore[arg-type]
    return Row.objects.latest("id")


@pytest.mark.django_db
def test_record_keeps_who_what_before_and_after() -> None:
    row = write(before={"role": "viewer"}, after={"role": "owner"}, reason="asked", project="fraud-detection")
    assert (row.actor, row.via, row.action, row.object_kind, row.object_id) == (
        "system:test",
        "system",
        "things.change",
        "thing",
        "1",
    )
    assert json.loads(row.before) == {"role": "viewer"} and json.loads(row.after) == {"role": "owner"}
    assert Subject.objects.get(key="system:test").name == "Gatehouse (test)"


@pytest.mark.django_db(transaction=True)
def test_record_outside_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        services.record("things.change", by=services.system("test"), obj=("thing", "1"))
    assert not Row.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_row_disappears_with_the_change_that_failed() -> None:
    def fail() -> None:
        with transaction.atomic():
            services.record("things.change", by=services.system("test"), obj=("thing", "1"))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert not Row.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["secret", "client_secret", "password", "hash", "access_token"])
def test_secrets_never_enter_a_row(key: str) -> None:
    with pytest.raises(ValueError, match="secrets"):
        write(after={key: "x"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", triggers.TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_rows_and_seals_cannot_be_changed(table: str, statement: str) -> None:
    if statement.startswith("TRUNCATE") and connection.vendor == "sqlite":
        statement = "DELETE FROM {}"  # SQLite has no TRUNCATE; its DELETE without WHERE is one
    write()
    services.seal()
    column = "action = 'x'" if table == "audit_row" else "hash = 'x'"
    with pytest.raises((DatabaseError, IntegrityError), match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement.format(table, column))
    assert Row.objects.count() == 1 and Seal.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_check_reports_a_missing_trigger() -> None:
    assert append_only(None, databases=["default"]) == []
    triggers.drop(connection)
    try:
        assert [item.id for item in append_only(None, databases=["default"])] == ["audit.E001"]
    finally:
        triggers.create(connection)
    assert triggers.missing(connection) == []


@pytest.mark.django_db
def test_seal_chains_every_row_once() -> None:
    for number in range(5):
        write(after={"number": number})
    assert services.seal() == 5
    assert services.seal() == 0
    write()
    assert services.seal() == 1
    assert list(Seal.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3, 4, 5, 6]
    verdict = services.verify_database()
    assert (verdict.rows, verdict.unsealed, verdict.broken_row) == (6, 0, None)


def tampered(change: str) -> services.Verdict:
    triggers.drop(connection)
    try:
        with connection.cursor() as cursor:
            cursor.execute(change)
        return services.verify_database()
    finally:
        triggers.create(connection)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE audit_row SET canonical = '{}' WHERE id = {1}", "changed after it was sealed"),
        ("UPDATE audit_row SET reason = 'nicer' WHERE id = {1}", "differs from the sealed text"),
        ("DELETE FROM audit_row WHERE id = {1}", "row is missing"),
        ("DELETE FROM audit_seal WHERE row_id = {1}", "link before"),
        ("UPDATE audit_seal SET hash = 'x' WHERE row_id = {1}", "does not match"),
    ],
)
def test_verify_finds_the_first_broken_row(change: str, why: str) -> None:
    rows = [write(after={"number": number}) for number in range(3)]
    services.seal()
    verdict = tampered(change.replace("{1}", str(rows[1].pk)))
    assert verdict.broken_row in {rows[1].pk, rows[2].pk} and why in verdict.why


@pytest.mark.django_db
def test_command_exports_and_verifies_a_file(tmp_path: Path) -> None:
    for number in range(3):
        write(after={"number": number})
    file = tmp_path / "audit.jsonl"
    call_command("audit", "export", str(file), stdout=StringIO())
    out = StringIO()
    call_command("audit", "verify", str(file), stdout=out)
    assert "3 rows" in out.getvalue()
    lines = file.read_text().splitlines()
    broken = json.loads(lines[1])
    broken["canonical"] = broken["canonical"].replace('\\"number\\":1', '\\"number\\":7')
    file.write_text("\n".join([lines[0], json.dumps(broken), lines[2]]))
    err = StringIO()
    with pytest.raises(SystemExit) as exit_:
        call_command("audit", "verify", str(file), stderr=err)
    assert exit_.value.code == 1 and str(broken["row_id"]) in err.getvalue()
