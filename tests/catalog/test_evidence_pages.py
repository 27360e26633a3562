"""Pages of evidence: every check with its verdict, raw reports apart, pins, drift, collecting again, what cards say."""

import datetime as dt
import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog import cells, services
from catalog.audience import list_only
from catalog.listings import refresh
from catalog.models import Evidence, Job, Pin, Verdict, Version
from endpoints.models import Endpoint, Phase
from tests.factories import make_asset, make_endpoint, make_version

pytestmark = pytest.mark.slow
TAB = "/catalog/granite/?tab=evidence&version=1.0"
BASE = "/catalog/granite/versions/1.0/"
FILES = [{"path": f"model-{n:03}.safetensors", "bytes": 1000 + n, "sha256": f"{n:064x}"} for n in range(60)]


@pytest.fixture
def version(org, monkeypatch):
    """An approved version with content of its own."""
    made = make_version(asset=make_asset("granite", name="Granite"))
    Version.objects.filter(pk=made.pk).update(
        source="hf://example/granite@main", runtime={"engine": "vllm", "command": ["vllm"]}
    )
    made.refresh_from_db()
    return made


def pin(version, state="resolved", **also):
    fields = {"revision": "0" * 40, "digest": "sha256:" + "c" * 64, "files": FILES, "total_bytes": 61_770}
    return Pin.objects.create(version=version, state=state, verified_at=timezone.now(), **fields | also)


def finding(version, kind, verdict="pass", **also):
    fields = {"summary": f"{kind} says so.", "tool": "scanner 1.0", "report": {"raw": kind}}
    at = also.pop("collected_at", timezone.now())
    return Evidence.objects.create(version=version, kind=kind, verdict=verdict, collected_at=at, **fields | also)


def text(response, status=200):
    assert response.status_code == status, response.content[:300]
    return response.content.decode()


def test_every_check_stands_there_also_without_a_finding(version, org, client_for):
    response = client_for(org.dana).get(TAB)
    page, rows = text(response), {row["kind"]: row for row in response.context["evidence"]}
    assert {"licence", "card", "pin", "ml-bom"} <= set(rows)
    assert rows["ml-bom"]["chip"]["label"] == "Not collected" and rows["licence"]["chip"]["label"] == "Pass"
    assert f'href="{BASE}evidence/licence/"' in page and "Download all" in page
    assert f'action="{BASE}collect/"' not in page, "dana may read, not collect"
    assert page.count(f'action="{BASE}collect/"') == 0
    assert f'action="{BASE}collect/"' in text(client_for(org.pat).get(TAB))


def test_a_report_has_a_page_and_a_file(version, org, client_for):
    old = finding(version, "files", "warn", summary="One odd file.", collected_at=timezone.now() - dt.timedelta(days=2))
    finding(version, "files", report={"<b>": "</script><script>alert(1)</script>"}, content="sha256:" + "a" * 64)
    client = client_for(org.dana)
    page = text(client.get(f"{BASE}evidence/files/"))
    assert "&lt;/script&gt;" in page and "<script>alert" not in page
    assert "One odd file." in page and "About other content" not in page and "about other content" in page
    earlier = text(client.get(f"{BASE}evidence/files/?id={old.pk}"))
    assert "&quot;raw&quot;: &quot;files&quot;" in earlier
    file = client.get(f"{BASE}evidence/files/?format=json")
    assert file["Content-Disposition"] == 'attachment; filename="granite-1.0-files.json"'
    assert json.loads(file.content)["report"] == {"<b>": "</script><script>alert(1)</script>"}


def test_a_big_report_does_not_blow_the_page(version, org, client_for):
    finding(version, "files", report={"files": ["x" * 100] * 30_000})
    client = client_for(org.dana)
    page = client.get(f"{BASE}evidence/files/")
    assert len(page.content) < 400_000 and b"The page shows the beginning" in page.content
    assert len(client.get(f"{BASE}evidence/files/?format=json").content) > 3_000_000
    assert len(client.get(TAB).content) < 200_000 and len(client.get("/catalog/").content) < 200_000


@pytest.mark.parametrize("path", [
    "evidence/nothing/", "evidence/licence/?id=999999", "evidence/licence/?id=x", "evidence/licence/?id=" + "9" * 30,
    "evidence/%00/", "evidence/" + "x" * 500 + "/", "files/", "ml-bom/?source=vendor",
])  # fmt: skip
def test_what_is_not_there_is_not_found(version, org, client_for, path):
    assert client_for(org.dana).get(BASE + path).status_code == 404


def test_the_report_of_another_version_cannot_be_had_by_its_number(version, org, client_for):
    other = make_version("draft", asset=make_asset("draft"))
    hidden = other.evidence.filter(kind="licence").get()
    assert client_for(org.dana).get(f"{BASE}evidence/licence/?id={hidden.pk}").status_code == 404


def test_strangers_and_unlisted_people_find_nothing(version, org, client_for):
    list_only(org.principal(org.pat), version.asset, "A few teams.")
    for path in ("evidence/", "evidence/licence/", "ml-bom/"):
        assert client_for(org.cy).get(BASE + path).status_code == 404, path
        assert client_for(org.pat).get(BASE + path).status_code == 200, path
    assert client_for(org.cy).post(f"{BASE}collect/").status_code == 404
    assert client_for(org.cy).get("/catalog/granite/used/").status_code == 404


def test_all_reports_are_one_file(version, org, client_for):
    pin(version)
    body = json.loads(client_for(org.dana).get(f"{BASE}evidence/").content)
    assert {item["kind"] for item in body["evidence"]} >= {"licence", "card", "pin"}
    assert body["evidence"][0]["report"] and body["pin"]["files"] == FILES and body["source"] == version.source


def test_what_is_pinned(version, org, client_for):
    pin(version)
    client = client_for(org.dana)
    page = text(client.get(TAB))
    assert "What is pinned" in page and "sha256:" + "c" * 64 in page and "model-000.safetensors" in page
    assert "model-049" in page and "model-050" not in page and "And 10 more" in page
    lines = client.get(f"{BASE}files/").content.decode().splitlines()
    assert lines[0] == "path,bytes,sha256" and len(lines) == 61 and lines[60].startswith("model-059.safetensors,1059,")


def test_drift_is_said_with_what_changed(version, org, client_for):
    drift = {"revision": "f" * 40, "changed": ["model-001.safetensors"], "missing": [], "extra": ["evil<b>.py"]}
    pin(version, "drifted", sentence="The tag main stands for another commit.", drift=drift, drifted_at=timezone.now())
    page = text(client_for(org.dana).get(TAB))
    assert "The tag main stands for another commit." in page and "Drifted" in page
    assert "Changed: model-001.safetensors" in page and "New: evil&lt;b&gt;.py" in page and "f" * 40 in page


def test_why_it_cannot_be_approved(org, client_for):
    draft = make_version("draft", asset=make_asset("granite", languages=[]))
    page = text(client_for(org.pat).get(TAB))
    assert "It cannot be approved as it is" in page and "Card: Missing: field languages." in page
    assert draft.state == "draft"


def test_expired_and_stale_findings_are_marked(version, org, client_for):
    pin(version)
    finding(version, "files", content="sha256:" + "0" * 64, expires_at=timezone.now() - dt.timedelta(hours=1))
    response = client_for(org.dana).get(TAB)
    row = next(row for row in response.context["evidence"] if row["kind"] == "files")
    assert row["expired"] and row["stale"]
    assert "About other content than what is pinned now." in text(response)
    assert "has expired" in text(client_for(org.dana).get(f"{BASE}evidence/files/"))


def test_collecting_again(version, org, client_for):
    client = client_for(org.pat)
    answer = client.post(f"{BASE}collect/", {"kind": "licence"}, follow=True)
    assert "Licence is collected again" in text(answer)
    assert client_for(org.dana).post(f"{BASE}collect/", {"kind": "licence"}).status_code == 403
    for kinds in (["nonsense"], ["x" * 5000], ["licence", "\0"]):
        assert client.post(f"{BASE}collect/", {"kind": kinds}).status_code == 422


def test_a_page_with_jobs_asks_again_until_nothing_moves(version, org, client_for):
    client = client_for(org.dana)
    Job.objects.create(version=version, kind="pin", due_at=timezone.now())
    page = text(client.get(TAB))
    assert 'hx-trigger="every 3s"' in page and "Waits for a worker." in page
    assert client.get(TAB, headers={"HX-Request": "true"}).status_code == 200
    Job.objects.update(due_at=None, finished_at=timezone.now())
    again = client.get(TAB, headers={"HX-Request": "true"})
    assert again.status_code == 286 and b"every 3s" not in again.content


@pytest.mark.parametrize(
    ("kind", "verdict", "words"),
    [
        ("signature", "pass", "Signed"), ("signature", "warn", "Not signed"), ("files", "pass", "Scan clean"),
        ("files", "fail", "Scan failed"), ("pin", "pass", "Pinned"),
    ],
)  # fmt: skip
def test_the_trust_line_of_a_card(version, org, client_for, kind, verdict, words):
    finding(version, kind, verdict)
    line = [cell["text"] for cell in cells.trust(Version.objects.get(pk=version.pk))]
    assert words in line and "Apache-2.0" in line and line[-1] == "verified"
    page = text(client_for(org.dana).get("/catalog/"))
    assert re.search(rf"</svg> {words}", page)


def test_the_trust_line_is_short_and_hides_no_failure(version):
    finding(version, "ml-bom")
    finding(version, "upstream", "fail")
    line = [cell["text"] for cell in cells.trust(version)]
    assert not any("ML-BOM" in words for words in line) and any("fail" in words for words in line)
    finding(version, "signature", expires_at=timezone.now() - dt.timedelta(days=1))
    expired = next(cell for cell in cells.trust(version) if cell["text"].startswith("Signed"))
    assert expired["text"] == "Signed, expired" and expired["tone"] == "orange"


def test_the_list_never_reads_raw_reports(version, org, client_for):
    """24 cards with reports of megabytes would be read for one line each."""
    finding(version, "files", report={"files": ["x" * 100] * 1000})
    client = client_for(org.dana)
    client.get("/catalog/")
    with CaptureQueriesContext(connection) as queries:
        client.get("/catalog/")
        client.get("/catalog/granite/")
    read = [query["sql"] for query in queries if 'FROM "catalog_evidence"' in query["sql"]]
    assert read and not any('"catalog_evidence"."report"' in sql for sql in read)


def test_lists_of_files_are_read_of_no_version_but_the_one_that_is_shown(version, org, client_for, api_for):
    """A pin may hold 20,000 files: megabytes for each version."""
    for number in range(3):
        pin(make_version(asset=version.asset, version=f"2.{number}"))
    pin(version)
    client, api = client_for(org.dana), api_for(org.dana, "catalog:read")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(TAB).status_code == 200
    (read,) = [query["sql"] for query in queries if '"files"' in query["sql"]]
    assert "catalog_version" not in read and "LIMIT" in read.upper()
    with CaptureQueriesContext(connection) as queries:
        assert api.get("/catalog/assets/granite/versions/1.0").status_code == 200
        assert b"granite" in b"".join(api.get("/catalog/export?format=backstage").streaming_content)
    assert not [query["sql"] for query in queries if '"files"' in query["sql"]]


def test_the_page_of_a_draft_with_content_asks_no_more_than_any_other(version, org, client_for):
    draft = Version.objects.create(
        asset=version.asset, version="3.0", source=version.source, licence="MIT", runtime=version.runtime,
        facts=version.facts, proposed_by=org.dana,
    )  # fmt: skip
    pin(draft)
    for person in (org.dana, org.pat):
        client = client_for(person)
        client.get("/catalog/")
        with CaptureQueriesContext(connection) as queries:
            assert "Send to review" in text(client.get("/catalog/granite/?tab=evidence&version=3.0"))
        assert len(queries) <= 15


def test_used_by_names_own_and_counts_others(version, org, client_for, monkeypatch):
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    endpoint = make_endpoint(org.dana, version=make_version(asset=version.asset, version="2.0"), name="scoring")
    page = text(client_for(org.dana).get("/catalog/granite/used/"))
    assert "fraud-detection/scoring" in page and f"/endpoints/{endpoint.pk}/" in page
    other = text(client_for(org.cy).get("/catalog/granite/used/"))
    assert "scoring" not in other and "1 more in another project." in other
    Endpoint.objects.filter(pk=endpoint.pk).update(desired="deleted", phase=Phase.DELETED)
    assert "scoring" not in text(client_for(org.dana).get("/catalog/granite/used/"))


def test_versions_compared_say_files_and_pins(version, org, client_for):
    second = make_version(asset=version.asset, version="2.0")
    pin(version)
    changed = [FILES[0] | {"sha256": "e" * 64}, *FILES[2:], {"path": "new.json", "bytes": 5, "sha256": "d" * 64}]
    pin(second, files=changed, digest="sha256:" + "9" * 64)
    versions = text(client_for(org.dana).get("/catalog/granite/?tab=versions&version=1.0"))
    assert "/catalog/compare/?v=granite%401.0&amp;v=granite%402.0" in versions
    page = text(client_for(org.dana).get("/catalog/compare/?v=granite@1.0&v=granite@2.0"))
    files = page[page.index("Files that differ") :]
    assert all(name in files for name in ("model-000.safetensors", "model-001.safetensors", "new.json", "not there"))
    assert "model-002.safetensors" not in files and "Content digest" in page and "Command" in page


def test_the_verdict_of_the_list_is_kept(version, org):
    finding(version, "files", Verdict.FAIL)
    refresh(version.asset)
    assert version.asset.listings.get(audience="public").evidence == "fail"
    assert services.collect_evidence(org.principal(org.pat), version) is not None
