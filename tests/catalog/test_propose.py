"""Proposing, looking after a draft, deprecating and retiring, on pages: nothing typed is lost, nobody does too much."""

import datetime as dt
import json
import re
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from catalog import services
from catalog.audience import list_only
from catalog.models import Attachment, Version, VersionState
from catalog.views import proposal
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import CARD, lead, make_asset, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

FORM = {
    "kind": "model", "slug": "tiny-llama", "name": "Tiny <b>Llama</b>", "publisher": "Example Lab",
    "homepage": "https://example.com/", "summary": "A small model.", "description": CARD, "tasks": "chat, code",
    "languages": "en", "version": "1.0", "source": "hf://example/tiny@" + "a" * 40, "licence": "Apache-2.0",
    "engine": "vllm", "served": "", "image": "", "command": "", "parameters": "1,100,048,384",
    "bytes_per_parameter": "2", "layers": "22", "kv_heads": "4", "head_dim": "64", "kv_bytes": "2",
    "max_context_tokens": "2048", "embedding": "", "sources": "https://example.com/card", "unverified": "",
}  # fmt: skip
SERVER = {
    "$schema": "https://static.modelcontextprotocol.io/schemas/2025-09-29/server.schema.json",
    "name": "com.example/notes", "description": "Reads notes.", "version": "1.2.0", "title": "Notes",
    "remotes": [{"type": "streamable-http", "url": "https://notes.example.com/mcp"}],
}  # fmt: skip
DOCUMENT = json.dumps(
    {
        "hardware_profile": "gpu-small", "engine": "vllm 0.11", "measured_on": "2026-11-01", "concurrency": 8,
        "tokens_per_second": 410.5, "ttft_p50_ms": 120, "cold_start_seconds": 90,
    }
)  # fmt: skip


def errors(page: bytes) -> str:
    """The words of the page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.decode()))


def test_a_model_is_proposed_by_form(org: Org, client_for: Any) -> None:
    client: Client = client_for(org.dana)
    assert "Intended use" in client.get("/catalog/propose/").content.decode(), "the card begins with what is needed"
    answer = client.post("/catalog/propose/", FORM)
    version = Version.objects.get()
    assert answer.status_code == 302 and answer["Location"].endswith("?version=1.0&tab=evidence")
    assert version.runtime["command"][:5] == ["vllm", "serve", "{model}", "--revision", "a" * 40]
    assert version.runtime["model"] == "example/tiny" and version.needs["parameters"] == 1_100_048_384
    assert (version.state, version.proposed_by) == (VersionState.DRAFT, org.dana)
    assert version.jobs.filter(kind="pin", due_at__isnull=False).exists()
    page = client.get(answer["Location"]).content.decode()
    assert "Tiny &lt;b&gt;Llama" in page and "Send to review" in page and "Discard the draft" in page
    assert "hx-trigger" in page, "the page looks again while a worker is at it"
    assert client_for(org.cy).get(answer["Location"]).status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("slug", "Tiny Llama", "lower-case"), ("slug", "propose", "address of the catalog"), ("name", "", "Name"),
        ("layers", "many", "whole number"), ("parameters", "", "missing"), ("source", "somewhere", "Source"),
        ("homepage", "javascript:alert(1)", "https://"), ("command", "{host.__class__}", "Braces"),
        ("licence", "", "Licence"), ("max_context_tokens", "0", "least is 1"), ("tasks", "Über", "lower-case"),
        ("description", "x" * 20_001, "20000"), ("engine", "../x", "lower-case"),
        # what the check of the card would miss, and nobody could add to a draft
        ("homepage", "", "page is missing"), ("tasks", " ", "Tasks is missing"),
        ("description", proposal.CARD, "words of the template"),
    ],
)  # fmt: skip
def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(
    org: Org, client_for: Any, field: str, value: str, said: str
) -> None:
    answer = client_for(org.dana).post("/catalog/propose/", {**FORM, field: value})
    page = answer.content.decode()
    assert answer.status_code == 422 and not Version.objects.exists()
    place = page.split(f'id="id_{field}"')[1][:60_000]
    assert 'aria-invalid="true"' in place.split("<label")[0] and said in errors(answer.content)
    kept = "A small model." if field != "summary" else FORM["name"]
    assert kept in page and "https://example.com/card" in page
    assert "<b>Llama</b>" not in page


def test_a_taken_name_is_said_at_the_short_name(org: Org, client_for: Any) -> None:
    make_version(asset=make_asset("tiny-llama"))
    answer = client_for(org.dana).post("/catalog/propose/", FORM)
    assert answer.status_code == 422 and "exists already" in answer.content.decode()


def test_a_server_is_proposed_by_its_document(org: Org, client_for: Any) -> None:
    client = client_for(org.omar)
    form = {"kind": "mcp-server", "server_json": json.dumps(SERVER), "licence": "MIT", "description": CARD,
            "tasks": "notes", "slug": "", "name": "", "publisher": "",
            "homepage": "https://notes.example.com/"}  # fmt: skip
    for bad in ("", "{", "[]", json.dumps({**SERVER, "name": "no slash"}), "[" * 5000):
        answer = client.post("/catalog/propose/", {**form, "server_json": bad})
        assert answer.status_code == 422 and "server.json" in answer.content.decode()
    answer = client.post("/catalog/propose/", form)
    version = Version.objects.get()
    assert answer.status_code == 302 and (version.asset.slug, version.version) == ("notes", "1.2.0")
    again = client.get("/catalog/notes/propose/").content.decode()
    assert "https://notes.example.com/mcp" in again
    newer = {**form, "server_json": json.dumps({**SERVER, "version": "1.3.0"})}
    assert client.post("/catalog/notes/propose/", newer).status_code == 302
    assert set(Version.objects.values_list("version", flat=True)) == {"1.2.0", "1.3.0"}


def test_another_version_begins_with_the_last_one(org: Org, client_for: Any) -> None:
    client = client_for(org.dana)
    client.post("/catalog/propose/", FORM)
    page = client.get("/catalog/tiny-llama/propose/").content.decode()
    assert FORM["source"] in page and "1100048384" in page and "--load-format" in page
    form = proposal.text_of(Version.objects.get())
    refused = client.post("/catalog/tiny-llama/propose/", {**form, "version": "1.0"})
    assert refused.status_code == 422 and "versions never change" in refused.content.decode()
    assert client.post("/catalog/tiny-llama/propose/", {**form, "version": "1.1"}).status_code == 302
    first, second = Version.objects.order_by("pk")
    assert (first.runtime, first.needs, first.facts) == (second.runtime, second.needs, second.facts)


def test_a_draft_is_sent_to_review_decided_and_discarded_on_pages(org: Org, client_for: Any) -> None:
    client, form = client_for(org.dana), {**FORM, "engine": "demo", "source": "builtin://demo"}
    client.post("/catalog/propose/", form)
    sending = "/catalog/tiny-llama/versions/1.0/submit/"
    assert "who is not you decides" in client.get(sending).content.decode()
    assert client_for(org.omar).get(sending).status_code == 404
    sent = client.post(sending, {"purpose": "The fraud desk needs it."})
    number = sent["Location"].strip("/").rsplit("/", 1)[-1]
    mine = client.get(sent["Location"]).content.decode()
    assert "Into the catalog" not in mine and "The fraud desk needs it." in mine
    queue = client_for(org.pat).get(f"/approvals/{number}/").content.decode()
    assert "What is let in" in queue and "The fraud desk needs it." in queue and "builtin://demo" in queue
    assert "/evidence/licence/" in queue, "the raw reports are one step away"
    assert client.get(f"/approvals/{number}/").status_code == 403
    assert client_for(org.pat).post(f"/approvals/{number}/approve/").status_code == 302
    assert Version.objects.get().state == VersionState.APPROVED
    client.post("/catalog/tiny-llama/propose/", {**form, "version": "2.0"})
    assert client.get("/catalog/tiny-llama/versions/2.0/discard/").status_code == 200
    assert client.post("/catalog/tiny-llama/versions/2.0/discard/").status_code == 302
    assert client.post("/catalog/tiny-llama/versions/1.0/discard/").status_code == 403
    assert Version.objects.count() == 1


def test_a_document_is_added_by_its_proposer(org: Org, client_for: Any) -> None:
    client = client_for(org.dana)
    client.post("/catalog/propose/", {**FORM, "engine": "demo", "source": "builtin://demo"})
    path = "/catalog/tiny-llama/versions/1.0/attach/"
    assert client_for(org.omar).get(path).status_code == 404
    refused = client.post(path, {"kind": "performance", "name": "bench", "content": "{"})
    assert refused.status_code == 422 and "not JSON" in refused.content.decode() and "bench" in refused.content.decode()
    assert client.post(path, {"kind": "moon", "name": "x", "content": "{}"}).status_code == 422
    for _ in range(2):  # the same again changes nothing
        assert client.post(path, {"kind": "performance", "name": "bench", "content": DOCUMENT}).status_code == 302
    assert Attachment.objects.get().added_by == org.dana
    assert Version.objects.get().evidence.filter(kind="performance").exists(), "it was judged at once"


def test_deprecated_with_successor_and_day_and_retired_by_the_sweep(org: Org, client_for: Any) -> None:
    asset = make_asset("tiny")
    old, new = make_version(asset=asset), make_version(asset=asset, version="2.0")
    client, path = client_for(org.yasmine), "/catalog/tiny/versions/1.0/deprecate/"
    day = timezone.now().date() + dt.timedelta(days=30)
    past = client.post(path, {"successor": "tiny@2.0", "retires_on": "2020-01-01", "reason": "A newer one."})
    assert past.status_code == 422 and "A newer one." in past.content.decode()
    assert client.post(path, {"successor": "tiny@9.9"}).status_code == 422
    form = {"successor": "tiny@2.0", "retires_on": day.isoformat(), "reason": "A newer one."}
    assert client_for(org.dana).post(path, form).status_code == 403
    assert client.post(path, form).status_code == 302
    old.refresh_from_db()
    assert (old.state, old.successor, old.retires_on) == (VersionState.DEPRECATED, new, day)
    assert client.get(path).status_code == 409
    with time_machine.travel(dt.datetime.combine(day, dt.time(1), tzinfo=dt.UTC)):
        assert (services.retire_due(), services.retire_due()) == (1, 0)
    old.refresh_from_db()
    assert old.state == VersionState.RETIRED and str(day) in old.state_reason


def test_retired_by_hand(org: Org, client_for: Any) -> None:
    version = make_version(VersionState.DEPRECATED, asset=make_asset("tiny"))
    client, path = client_for(org.pat), "/catalog/tiny/versions/1.0/retire/"
    assert client.get(path).status_code == 200 and client.post(path, {"reason": "Nobody uses it."}).status_code == 302
    version.refresh_from_db()
    assert version.state == VersionState.RETIRED
    assert services.block(lead(), version, "after all").state == VersionState.BLOCKED


def test_a_successor_is_named_to_those_who_see_it_and_as_long_as_it_may_be_used(org: Org, client_for: Any) -> None:
    version, secret = make_version(asset=make_asset("tiny")), make_version(asset=make_asset("secret"))
    services.deprecate(lead(), version, secret)
    assert version.successor_for(None) == version.successor_for(Principal.of(org.dana)) == secret
    list_only(lead(), secret.asset, "Not for everyone.")
    version = Version.objects.get(pk=version.pk)
    assert version.successor_for(None) is None and version.successor_for(Principal.of(org.dana)) is None
    assert "secret" not in client_for(org.dana).get("/catalog/tiny/").content.decode()
    assert version.successor_for(Principal.of(org.pat)) == secret
    services.block(lead(), secret, "It leaks.")
    assert Version.objects.get(pk=version.pk).successor_for(Principal.of(org.pat)) is None


def test_by_api_jobs_reverify_and_attachments(org: Org, api_for: Any) -> None:
    make_version(asset=make_asset("tiny"))
    path = "/catalog/assets/tiny/versions/1.0"
    steward, reader = (api_for(who, "catalog:read", "catalog:write") for who in (org.pat, org.dana))
    assert steward.post(f"{path}/reverify").status_code == 202 and reader.post(f"{path}/reverify").status_code == 403
    assert steward.post(f"{path}/reverify", {"kinds": ["moon"]}).json()["errors"][0]["field"] == "kinds"
    assert reader.get(f"{path}/jobs").json()["items"] == []
    body = {"kind": "performance", "name": "bench", "content": json.loads(DOCUMENT)}
    assert reader.post(f"{path}/attachments", body).status_code == 403
    made = steward.post(f"{path}/attachments", body)
    assert made.status_code == 201 and steward.post(f"{path}/attachments", body).json() == made.json()
    (listed,) = reader.get(f"{path}/attachments").json()["items"]
    assert (listed["name"], listed["added_by"]) == ("bench", None), "who adds documents is not for every reader"
    assert steward.get(f"{path}/attachments").json()["items"][0]["added_by"] == "pat"
    bad = steward.post(f"{path}/attachments", {**body, "content": {"a": 1}})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "content")
    full = reader.get(path).json()
    assert full["problems"] == [] and full["retires_on"] is None and full["jobs"] == []
