"""Requests as files: what is written can be read again, and nothing hostile is."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from approvals import interchange
from approvals.bodies import parse
from approvals.models import Request
from portal.errors import Invalid
from tests.approvals.form_kit import Clients, text_of
from tests.conftest import ApiClient, Org
from tests.factories import make_cluster, make_profile, make_request, make_version, request_body

FILE = b"""apiVersion: gatehouse/v1
kind: Request
metadata:
  name: nightly
spec:
  kind: endpoint
  project: fraud-detection
  version: 1.10
  replicas: 2
  ends_on: 2027-02-01
  purpose: |
    Two
    lines.
"""
words = some.text(some.characters(exclude_categories=("Cs", "Cc", "Co", "Cn")), max_size=60)


def test_a_file_is_read_as_it_is_written() -> None:
    """A version keeps its digits, a date too; numbers are numbers."""
    found = interchange.read(FILE)
    assert found.name == "nightly" and not found.draft
    assert found.body == {
        "kind": "endpoint", "project": "fraud-detection", "version": "1.10", "replicas": 2, "ends_on": "2027-02-01",
        "purpose": "Two\nlines.\n",
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(purpose=words, version=some.sampled_from(["1.0", "1.10", "0x1", "1e3", "yes", "null", "2026-11-01", "~"]))
def test_what_is_written_is_read_again(purpose: str, version: str) -> None:
    """Whatever the words look like to YAML."""
    body = parse({"kind": "endpoint", "project": "p", "version": version, "purpose": purpose, "replicas": 3}).stored()
    kept = {name: value for name, value in body.items() if value not in (None, "")}
    request = Request(pk=7, kind="endpoint", name="scoring", body=body)
    found = interchange.read(interchange.write(request).encode())
    assert (found.name, found.body) == ("scoring", kept)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a: &a [1]\nb: *a\n", "aliases"),
        (b"a: !!python/object/apply:os.system ['id']\n", "tag"),
        (b"a: !!binary aGk=\n", "tag"),
        (b"spec: {project: a, project: b}\n", "twice"),
        (b"---\na: 1\n---\nb: 2\n", "second document"),
        (b"[" * 5000, "nests"),
        (b"a: [1, 2\n", "line"),
        (b"\xff\xfe", "UTF-8"),
        (b"a: '\0'", "NUL"),
        (b"x" * (64 * 1024 + 1), "limit is 65,536"),
        (b"", "empty"),
        (b"- 1\n- 2\n", "must hold one request"),
        (b"just words", "must hold one request"),
        (b"apiVersion: v2\nkind: Request\nspec: {}\n", "gatehouse/v1"),
        (b"apiVersion: gatehouse/v1\nkind: Pod\nspec: {}\n", "Request"),
        (b"apiVersion: gatehouse/v1\nkind: Request\nspec: []\n", "Indent"),
        (b"apiVersion: gatehouse/v1\nkind: Request\nmetadata: {name: ../x}\nspec: {}\n", "metadata.name"),
        (b"apiVersion: gatehouse/v1\nkind: Request\nmetadata: {labels: {}}\nspec: {}\n", "metadata.labels"),
        (b"apiVersion: gatehouse/v1\nkind: Request\nstatus: x\nspec: {}\n", "status is not part"),
        (b"? [a, b]\n: c\n", "no text"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused_in_one_sentence(raw: bytes, said: str) -> None:
    """With the place where there is one."""
    with pytest.raises(Invalid) as refused:
        interchange.read(raw)
    assert said in refused.value.sentence and len(refused.value.sentence) <= 500


def test_differences_name_both_values() -> None:
    """Nothing and an empty text are the same."""
    before = {"replicas": 1, "purpose": "", "version": "1"}
    assert interchange.difference(before, before | {"purpose": None, "replicas": 2}) == [("replicas", 1, 2)]


# --- API and pages --------------------------------------------------------------------------------


SCOPES = ("requests:read", "requests:write")


def sent(me: ApiClient, path: str, text: str | bytes) -> Any:
    return me.client.post(f"/api/v1{path}", text, content_type="application/yaml")


def body(**fields: Any) -> dict[str, Any]:
    make_cluster()
    version, profile = make_version(), make_profile()
    names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": profile.slug}
    return request_body(**names, **fields)


@pytest.mark.slow
def test_the_api_takes_and_gives_yaml(org: Org, api_for: Callable[..., ApiClient]) -> None:
    """A request that is downloaded asks for the same again; JSON stays the default."""
    me, asked = api_for(org.dana, *SCOPES), body(name="first")
    text = yaml.safe_dump(asked, sort_keys=False)
    made = sent(me, "/requests", text)
    assert made.status_code == 201 and made.json()["state"] == "submitted"
    number = made.json()["id"]
    file = me.get(f"/requests/{number}", accept="application/yaml")
    assert file["Content-Type"].startswith("application/yaml") and f"R-{number}" in file["Content-Disposition"]
    assert interchange.read(file.content).body["asset"] == asked["asset"]
    assert me.get(f"/requests/{number}", accept="*/*")["Content-Type"] == "application/json"
    second = file.content.replace(b"name: first", b"name: second")
    plan = sent(me, "/requests/check", second)
    assert plan.status_code == 200 and plan.json()["kind"] == "endpoint"
    draft = sent(me, "/requests", second.replace(b"metadata:\n", b"metadata:\n  draft: true\n"))
    assert draft.status_code == 201 and draft.json()["state"] == "draft" and draft.json()["name"] == "second"
    bomb = sent(me, "/requests", "a: &a [1]\nb: [*a, *a]\n")
    assert bomb.status_code == 422 and "aliases" in bomb.json()["detail"]


@pytest.mark.slow
def test_a_stranger_downloads_nothing(org: Org, api_for: Callable[..., ApiClient], client_for: Clients) -> None:
    """By the page and by the API."""
    made = make_request(org.dana)
    assert api_for(org.cy).get(f"/requests/{made.pk}", accept="application/yaml").status_code == 404
    assert client_for(org.cy).get(f"/requests/{made.pk}/yaml/").status_code == 404
    file = client_for(org.vic).get(f"/requests/{made.pk}/yaml/")
    assert file.status_code == 200 and b"apiVersion: gatehouse/v1" in file.content


@pytest.mark.slow
def test_a_file_becomes_a_draft(org: Org, client_for: Clients, tmp_path: Any) -> None:
    """Uploaded or pasted; the form that opens holds what it says."""
    client, text = client_for(org.dana), yaml.safe_dump(body(name="from-file"))
    assert client.get("/requests/import/").status_code == 200
    path = tmp_path / "request.yaml"
    path.write_text(text)
    with path.open("rb") as upload:
        made = client.post("/requests/import/", {"file": upload})
    request = Request.objects.get(name="from-file")
    assert made["Location"] == f"/requests/{request.pk}/edit/" and request.state == "draft"
    assert 'value="from-file"' in client.get(made["Location"]).content.decode()


@pytest.mark.slow
def test_a_wrong_file_says_what_and_keeps_the_text(org: Org, client_for: Clients) -> None:
    """Fields by name, and the words as they were typed, escaped."""
    client = client_for(org.dana)
    wrong = "project: fraud-detection\nreplicas: 0\nspeed: fast\npurpose: <script>alert(1)</script>\n"
    page = client.post("/requests/import/", {"text": wrong})
    html = page.content.decode()
    assert page.status_code == 422 and "speed is not a field" in text_of(page)
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    assert client.post("/requests/import/", {"text": ""}).status_code == 422
    assert client.post("/requests/import/", {"text": "project: search-ranking\n"}).status_code == 422
    assert Request.objects.count() == 0
