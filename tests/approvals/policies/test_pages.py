"""The pages of policies: who reads and writes, the editor that loses nothing, the way from a draft to what counts."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from approvals.models import PolicyDraft, Preview, Publication
from approvals.policies import drafting, preview, publishing
from approvals.policies.active import active, baseline
from projects.principal import Principal
from tests.approvals.policies.kit import bundle, publish, rule, stage
from tests.conftest import Org, prove
from tests.factories import make_endpoint, make_request

pytestmark = pytest.mark.slow

DRAFT = "/policies/draft/"
PATH = "rules/life-900.yaml"
TEXT = rule()[PATH]
Clients = Callable[..., Client]


def text_of(response: Any) -> str:
    return unescape(re.sub(r"\s+", " ", response.content.decode()))


@pytest.fixture
def lead(org: Org, client_for: Clients) -> Client:
    """The governance lead's browser, with a bundle that counts and a draft of the next one."""
    publish(org, rule(days=90), stage())
    drafting.begin(Principal.of(org.yasmine))
    return client_for(org.yasmine)


def save(client: Client, text: str, *, path: str = PATH, action: str = "save", seen: str | None = None) -> Any:
    if seen is None:
        draft = PolicyDraft.objects.get()
        seen = drafting.mark(draft.files.get(path))
    return client.post(DRAFT, {"action": action, "path": path, "text": text, "seen": seen})


def test_policies_are_read_by_everybody(org: Org, client_for: Clients) -> None:
    """Whoever is judged by a rule reads it: its words, its expression, its tests. How often it spoke in all projects is
    for who runs, governs or audits them.
    """
    publish(org, rule(days=30), stage(), reason="Shorter lives.")
    make_request(org.dana)
    for name in ("dana", "vic", "cy", "pat", "aud", "yasmine"):
        client = client_for(getattr(org, name))
        page = text_of(client.get("/policies/"))
        assert "End date within 30 days" in page and "life-900" in page
        counts = name in {"pat", "aud", "yasmine"}
        assert [words in page for words in ("1 warned", "Hits, 30 days", "hits among")] == [counts] * 3
        assert "Governance" in page and "OSPS Baseline" in page and "Shorter lives." in page
        assert active().bundle.digest in page and active().version in page
        writes = name == "yasmine"
        assert ("Begin a draft" in page) is writes and ("Roll back" in page) is writes
        one = text_of(client.get("/policies/rules/life-900/"))
        assert "request.days <= 30" in one and "Choose a nearer end date." in one and "2 of 2 pass" in one
        assert ("Change it in a draft" in one) is writes and ("1 of 1 requests in 30 days" in one) is counts
    assert client_for(org.dana).get("/policies/rules/no-such-rule/").status_code == 404


def test_the_list_is_filtered_by_its_address(org: Org, client_for: Clients) -> None:
    """By words and severity; what htmx asks for is the part alone; nothing found says so."""
    publish(org, rule(days=30), rule("life-901", days=40, severity="deny"))
    client = client_for(org.dana)
    page = text_of(client.get("/policies/?q=within+40"))
    assert "life-901" in page and "life-900" not in page and "1 of 2 rules" in page
    page = text_of(client.get("/policies/?severity=deny"))
    assert "life-901" in page and "life-900" not in page
    part = client.get("/policies/?q=nothing-like-it", headers={"HX-Request": "true"})
    assert "No rule matches" in text_of(part) and b"<html" not in part.content
    assert client.get("/policies/?severity=%00&q=%00" + "x" * 500).status_code == 200


@pytest.mark.parametrize("name", ["dana", "omar", "vic", "cy", "pat", "aud"])
def test_others_do_not_write(org: Org, client_for: Clients, name: str) -> None:
    """Every page of the editor says which role it takes."""
    client = client_for(getattr(org, name))
    for url in (DRAFT, f"{DRAFT}discard/", f"{DRAFT}publish/", "/policies/publications/0/roll-back/"):
        response = client.get(url)
        assert response.status_code == 403 and "overnance lead" in text_of(response)
        assert client.post(url, {"action": "begin"}).status_code == 403
    assert client.post(f"{DRAFT}preview/").status_code == 403
    assert not PolicyDraft.objects.exists()


def test_previews_are_for_platform_roles(org: Org, client_for: Clients) -> None:
    """Engineers, leads and auditors read them; for others there is none."""
    row = preview.ask(Principal.of(org.yasmine), bundle())
    url = f"/policies/previews/{row.pk}/"
    seen = {name: client_for(getattr(org, name)).get(url).status_code for name in ("pat", "aud", "yasmine", "dana")}
    assert seen == {"pat": 200, "aud": 200, "yasmine": 200, "dana": 404}
    assert client_for(org.pat).get(f"/policies/previews/{2**70}/").status_code == 404


def test_a_draft_begins_on_the_page(org: Org, client_for: Clients) -> None:
    """The page that has none offers to begin one."""
    client = client_for(org.yasmine)
    assert "You have no draft" in text_of(client.get(f"{DRAFT}?path={PATH}"))
    response = client.post(DRAFT, {"action": "begin"})
    assert response.status_code == 302 and response["Location"] == DRAFT
    assert PolicyDraft.objects.get().files == baseline().files
    assert client.get(DRAFT).status_code == 200
    assert "Go on with your draft" in text_of(client.get("/policies/"))


def test_edit_test_impact_publish(org: Org, lead: Client) -> None:
    """The whole way, as the stepper names it."""
    waits = make_request(org.dana)
    response = save(lead, rule(days=30, severity="deny")[PATH], action="test")
    assert response.status_code == 302 and response["Location"].endswith("#tests")
    page = text_of(lead.get(f"{DRAFT}?path={PATH}"))
    assert "1 file changed" in page and "4 of 4 pass" in page and "not looked at" in page
    response = lead.post(f"{DRAFT}preview/")
    url = response["Location"]
    waiting = lead.get(url)
    assert 'hx-trigger="every 1s"' in waiting.content.decode() and "Waits for a worker" in text_of(waiting)
    assert lead.get(url, headers={"HX-Request": "true"}).status_code == 200
    preview.run_due()
    done = lead.get(url, headers={"HX-Request": "true"})
    assert done.status_code == 286 and "1 of 1 change" in text_of(done) and "hx-trigger" not in done.content.decode()
    assert f"R-{waits.pk}" in text_of(done) and "in 60 days" in text_of(done)
    sheet = lead.get(f"{url}?format=csv")
    assert sheet["Content-Type"].startswith("text/csv") and b"request,R-" in sheet.content and b"fail" in sheet.content
    review = text_of(lead.get(f"{DRAFT}publish/"))
    assert "1 of 1 change" in review and "+expression: request.days <= 30" in review
    seen = re.search(r'name="seen" value="([^"]+)"', lead.get(f"{DRAFT}publish/").content.decode())
    assert seen is not None
    response = lead.post(f"{DRAFT}publish/", {"reason": "Shorter lives.", "seen": seen.group(1)})
    assert response.status_code == 302 and response["Location"] == "/policies/"
    assert Publication.objects.count() == 2 and not PolicyDraft.objects.exists()
    assert "request.days <= 30" in text_of(lead.get("/policies/rules/life-900/"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("<= 90", "<="), ["Line 5, column", "expression: request.days <=", "^"]),
        (TEXT.replace("severity: warn", "severity: [warn"), ["This is not YAML", "Line"]),
        (TEXT.replace("severity: warn", "severity: fatal"), ["severity"]),
        ("", ["empty"]),
        ("a: &a [x]\nb: *a\n", ["not allowed"]),
        ("[" * 60_000, ["cannot be published"]),
        ("</textarea><script>alert(1)</script>", ["must hold fields"]),
    ],
)
def test_a_mistake_is_shown_in_place(lead: Client, text: str, words: list[str]) -> None:
    """The text is kept as it was typed, beside what is wrong with it and where; it cannot be published."""
    assert save(lead, text).status_code == 302
    response = lead.get(f"{DRAFT}?path={PATH}")
    page = text_of(response)
    for word in words:
        assert word in page, word
    assert PolicyDraft.objects.get().files[PATH].strip() == text.strip()
    assert b"<script>alert" not in response.content
    refused = lead.post(f"{DRAFT}publish/", {"reason": "No.", "seen": _seen(lead)})
    assert refused.status_code == 422 and Publication.objects.count() == 1


def _seen(client: Client) -> str:
    found = re.search(r'name="seen" value="([^"]+)"', client.get(f"{DRAFT}publish/").content.decode())
    return found.group(1) if found else ""


@pytest.mark.parametrize(
    ("text", "path", "status", "words"),
    [
        ("id: a\0b\n", PATH, 422, "U+0000"),
        ("x" * 70_000, PATH, 422, "70,000"),
        ("id: x\n", "rules/../../etc/passwd", 422, "path is"),
        ("id: x\n", "", 422, "path is"),
    ],
)
def test_what_cannot_be_kept_comes_back(lead: Client, text: str, path: str, status: int, words: str) -> None:
    """With the sentence, and everything that was typed in the field."""
    before = PolicyDraft.objects.get().files
    response = save(lead, text, path=path, seen=drafting.mark(before.get(path)))
    assert response.status_code == status and words in text_of(response)
    assert PolicyDraft.objects.get().files == before
    if path and "\0" not in text:
        assert text.strip()[:1000] in unescape(response.content.decode())


def test_another_tab_wrote_it(lead: Client) -> None:
    """409, and what was typed here stays on the page."""
    stale = drafting.mark(PolicyDraft.objects.get().files[PATH])
    save(lead, TEXT + "# theirs\n")
    response = save(lead, TEXT + "# mine\n", seen=stale)
    assert response.status_code == 409 and "another tab" in text_of(response) and "# mine" in text_of(response)
    assert PolicyDraft.objects.get().files[PATH].endswith("# theirs\n")


def test_files_come_and_go(lead: Client) -> None:
    """Add, take out, put back; an id that is there already or is none is refused beside its field."""
    response = lead.post(DRAFT, {"action": "add", "folder": "rules", "name": "data-004"})
    assert response.status_code == 302 and "id: data-004" in PolicyDraft.objects.get().files["rules/data-004.yaml"]
    for name in ("data-004", "../x", "", "X", "a" * 70):
        refused = lead.post(DRAFT, {"action": "add", "folder": "rules", "name": name})
        assert refused.status_code == 422 and 'aria-invalid="true"' in refused.content.decode()
    assert lead.post(DRAFT, {"action": "add", "folder": "../..", "name": "data-005"}).status_code == 422
    lead.post(DRAFT, {"action": "remove", "path": PATH})
    assert PATH not in PolicyDraft.objects.get().files
    assert "Put it back" in text_of(lead.get(f"{DRAFT}?path={PATH}"))
    lead.post(DRAFT, {"action": "restore", "path": PATH})
    lead.post(DRAFT, {"action": "restore", "path": "rules/data-004.yaml"})
    assert PolicyDraft.objects.get().files == active().bundle.files
    assert lead.post(DRAFT, {"action": "remove", "path": "rules/never.yaml"}).status_code == 404
    assert lead.post(DRAFT, {"action": "explode"}).status_code == 422


def test_try_on_a_sample(org: Org, lead: Client) -> None:
    """On the sample, a request and an endpoint: the verdict of the opened rule, who would decide, and the input."""
    waits, endpoint = make_request(org.dana), make_endpoint(org.dana)
    save(lead, rule(days=30)[PATH])
    for on in (f"request:{waits.pk}", f"endpoint:{endpoint.pk}"):
        page = text_of(lead.get(f"{DRAFT}?path={PATH}&on={on}"))
        assert "The end date is in 60 days." in page and '"days": 60' in page
    page = text_of(lead.get(f"{DRAFT}?path={PATH}&on=sample"))
    assert '"username": "dana"' in page
    for on in ("request:999999", "request:x", "endpoint:x", f"request:{10**30}", "nothing", "request:٣"):
        response = lead.get(f"{DRAFT}?path={PATH}&on={on}")
        assert response.status_code == 200 and "There is no such request or endpoint" in text_of(response)


def test_red_tests_stop_it(lead: Client) -> None:
    """They are named on the draft and on the page of publishing, which refuses them by force, too."""
    save(lead, rule(red=True)[PATH])
    page = text_of(lead.get(f"{DRAFT}?path=bundle.yaml"))
    assert "4 of 5 pass" in page and "expects fail and gets pass" in page
    assert "wrong" in text_of(lead.get(f"{DRAFT}publish/"))
    refused = lead.post(f"{DRAFT}publish/", {"reason": "Anyway.", "seen": _seen(lead)})
    assert refused.status_code == 422 and "1 of 5 tests fail" in text_of(refused) and "Anyway." in text_of(refused)
    assert Publication.objects.count() == 1


def test_somebody_published_meanwhile(org: Org, lead: Client) -> None:
    """The draft says so, publishing is refused with 409, and taking the changes over makes it possible."""
    save(lead, rule(days=30)[PATH])
    publish(org, rule(days=90), rule("life-901"), stage())
    assert "was published since this draft began" in text_of(lead.get(DRAFT))
    refused = lead.post(f"{DRAFT}publish/", {"reason": "Mine.", "seen": _seen(lead)})
    assert refused.status_code == 409 and "meanwhile" in text_of(refused)
    lead.post(DRAFT, {"action": "rebase"})
    assert lead.post(f"{DRAFT}publish/", {"reason": "Mine.", "seen": _seen(lead)}).status_code == 302
    assert active().bundle.files == bundle(rule(days=30), rule("life-901"), stage())


def test_what_was_shown_is_what_is_published(lead: Client) -> None:
    """A draft that another tab changed after the page was shown is not published unseen."""
    save(lead, rule(days=30)[PATH])
    seen = _seen(lead)
    save(lead, rule(days=31)[PATH])
    refused = lead.post(f"{DRAFT}publish/", {"reason": "Mine.", "seen": seen})
    assert refused.status_code == 409 and Publication.objects.count() == 1


def test_publishing_and_rolling_back_want_a_recent_proof(org: Org, lead: Client) -> None:
    """Who proved it long ago proves it again first."""
    save(lead, rule(days=30)[PATH])
    seen = _seen(lead)
    prove(lead, org.yasmine, seconds_ago=3600)
    for url, form in (
        (f"{DRAFT}publish/", {"reason": "Mine.", "seen": seen}),
        ("/policies/publications/0/roll-back/", {"reason": "Back.", "confirm": "baseline"}),
    ):
        response = lead.post(url, form)
        assert response.status_code == 302 and "reauthenticate" in response["Location"]
    assert Publication.objects.count() == 1


def test_roll_back_asks(org: Org, lead: Client) -> None:
    """Which files change, and the version typed; then the earlier bundle counts."""
    first = Publication.objects.get()
    publish(org, rule(days=30), stage())
    url = reverse("policy_roll_back", args=[first.number])
    page = text_of(lead.get(url))
    assert f"Roll the policies back to {first.version}?" in page and PATH in page
    wrong = lead.post(url, {"confirm": "yes", "reason": "Too strict."})
    assert wrong.status_code == 422 and "Too strict." in text_of(wrong)
    form = {"confirm": first.version, "reason": "Too strict.", "seen": active().bundle.digest}
    stale = lead.post(url, form | {"seen": baseline().digest})
    assert stale.status_code == 409
    assert lead.post(url, form).status_code == 302
    assert active().bundle.digest == first.bundle.digest and Publication.objects.first().rolled_back  # type: ignore[union-attr]
    assert lead.get("/policies/publications/99/roll-back/").status_code == 404
    assert lead.get(f"/policies/publications/{10**30}/roll-back/").status_code == 404


def test_discard_asks(lead: Client) -> None:
    """It is lost with what was changed; without a draft there is nothing to ask."""
    save(lead, rule(days=30)[PATH])
    assert "1 changed file" in text_of(lead.get(f"{DRAFT}discard/")) and PATH in text_of(lead.get(f"{DRAFT}discard/"))
    assert lead.post(f"{DRAFT}discard/", {"confirm": "no"}).status_code == 422 and PolicyDraft.objects.exists()
    assert lead.post(f"{DRAFT}discard/", {"confirm": "discard"}).status_code == 302
    assert not PolicyDraft.objects.exists()
    for url in (f"{DRAFT}discard/", f"{DRAFT}publish/"):
        assert lead.get(url)["Location"] == "/policies/"
    assert lead.post(f"{DRAFT}preview/").status_code == 404


def test_a_broken_draft_has_no_preview(lead: Client) -> None:
    """It says why instead."""
    save(lead, "id: [\n")
    response = lead.post(f"{DRAFT}preview/")
    assert response.status_code == 422 and not Preview.objects.exists()


def test_a_failed_preview_says_why(lead: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling ends there."""
    monkeypatch.setattr("approvals.policies.preview.active", lambda: (_ for _ in ()).throw(ZeroDivisionError))
    row = Preview.objects.create(files=bundle(), digest="sha256:1", against="sha256:2")
    preview.run_due()
    monkeypatch.undo()
    response = lead.get(f"/policies/previews/{row.pk}/", headers={"HX-Request": "true"})
    assert response.status_code == 286 and "ZeroDivisionError" in text_of(response)


def test_queries(org: Org, lead: Client, django_assert_max_num_queries: Any) -> None:
    """At most 15 a page, however many rules, publications and changes there are."""
    save(lead, rule(days=1)[PATH])
    for days in (10, 11, 12):
        publish(org, rule(days=days), *(rule(f"life-9{number:02}", days=days + number) for number in range(10, 30)))
        make_endpoint(org.dana)
    publishing.roll_back(Principal.of(org.yasmine), 1, reason="Back.")
    row = preview.ask(Principal.of(org.yasmine), bundle(rule(days=1)))
    preview.run_due()
    for url in (
        "/policies/", "/policies/rules/life-900/", f"{DRAFT}?path={PATH}&on=sample", f"{DRAFT}publish/",
        f"{DRAFT}discard/", f"/policies/previews/{row.pk}/", f"/policies/previews/{row.pk}/?format=csv",
        "/policies/publications/2/roll-back/",
    ):  # fmt: skip
        cache.clear()
        with django_assert_max_num_queries(15):
            assert lead.get(url).status_code == 200
