"""The commands of the contract: `create_token`, `audit verify`, `catalog load`."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from approvals.models import Decision, Stage, StageState, Submission
from audit.models import Row as AuditRow
from catalog.models import Asset, Version, VersionState
from tests.conftest import ApiClient, Org
from tests.world import World

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "catalog"


def test_create_token_prints_the_token_on_its_last_line(world: World) -> None:
    """And nothing else on standard output; it works at once with its scope and its project."""
    out = io.StringIO()
    call_command("create_token", "dana", "--scope", "requests:read", "--project", "fraud-detection", stdout=out)
    secret = out.getvalue().splitlines()[-1]
    assert out.getvalue() == f"{secret}\n"
    me = ApiClient(secret).get("/me").json()
    assert me["principal"]["user"] == "dana" and me["scopes"] == ["requests:read"]
    assert [project["slug"] for project in me["projects"]] == ["fraud-detection"]
    wrong_ones = ("nobody --scope admin", "dana --scope x", "dana --scope admin --ttl 2h")
    for wrong in (*wrong_ones, "dana --scope admin --ttl soon", "dana --scope admin --project x"):
        with pytest.raises(CommandError, match=r"[a-z]+ [a-z ]+"):
            call_command("create_token", *wrong.split(), stdout=io.StringIO(), stderr=io.StringIO())


def test_audit_verify_names_the_first_broken_row(world: World, tmp_path: Path) -> None:
    """It holds after everything that the world did, in the database and in an export; one changed word breaks it."""
    file, out = tmp_path / "audit.jsonl", io.StringIO()
    call_command("audit", "export", str(file), stdout=io.StringIO())
    call_command("audit", "verify", stdout=out)
    call_command("audit", "verify", str(file), stdout=out)
    assert out.getvalue().count("The chain holds") == 2
    lines = file.read_text().splitlines()
    number = next(index for index, line in enumerate(lines) if "approvals.approve" in line)
    lines[number] = lines[number].replace("approvals.approve", "approvals.reject")
    file.write_text("\n".join(lines) + "\n")
    said = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "verify", str(file), stderr=said)
    assert ended.value.code == 1 and re.search(r"row \d+", said.getvalue())


def test_catalog_load(org: Org, settings: Any) -> None:
    """Idempotent, with a dry run that writes nothing, loads drafts, and is refused in production with --approve-as."""
    out = io.StringIO()
    call_command("catalog", "load", str(EXAMPLES), "--dry-run", stdout=out)
    assert "changes" in out.getvalue() and not Asset.objects.exists() and not AuditRow.objects.exists()
    call_command("catalog", "load", str(EXAMPLES), "--as", "pat", stdout=out)
    states = set(Version.objects.values_list("state", flat=True))
    assert states == {VersionState.DRAFT} and Asset.objects.filter(kind="model").count() >= 6
    rows, again = AuditRow.objects.count(), io.StringIO()
    call_command("catalog", "load", str(EXAMPLES), "--as", "pat", stdout=again)
    assert again.getvalue().startswith("0 changes") and AuditRow.objects.count() == rows
    settings.EMBEDDED = False
    with pytest.raises(CommandError, match="refused in production"):
        call_command("catalog", "load", str(EXAMPLES), "--approve-as", "yasmine", stdout=io.StringIO())
    assert set(Version.objects.values_list("state", flat=True)) == {VersionState.DRAFT}
    settings.EMBEDDED = True
    call_command("catalog", "load", str(EXAMPLES), "--as", "pat", "--approve-as", "yasmine", stdout=io.StringIO())
    assert set(Version.objects.values_list("state", flat=True)) == {VersionState.APPROVED}
    assert AuditRow.objects.filter(action="catalog.approve").count() == Version.objects.count()
    approvals = AuditRow.objects.filter(action="catalog.approve").values_list("after", flat=True)
    assert {json.loads(after)["state"] for after in approvals} == {"approved"}
    assert set(Stage.objects.values_list("state", flat=True)) == {StageState.PASSED}
    decided = Decision.objects.filter(stage__request=F("request"), request__waiting_on="")
    assert decided.count() == Submission.objects.exclude(closed_at=None).count() == Version.objects.count()
