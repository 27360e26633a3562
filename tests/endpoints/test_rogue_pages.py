"""Pages and API of workloads without approval: who sees what, filters, the CSV, actions, and the import."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.models import HardwareProfile
from endpoints.models import Cluster
from endpoints.rogue import services
from endpoints.rogue.models import Mapped, Proposal, RogueState, RogueWorkload
from projects.models import User
from tests import factories
from tests.conftest import Org

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[[User | None], Client]


@pytest.fixture
def cluster(org: Org) -> Cluster:
    return factories.make_place(org.pat)


def names(page: Any) -> list[str]:
    return [row["name"] for row in page.context["rows"]]


def test_platform_people_see_all_and_members_their_own(org: Org, cluster: Cluster, client_for: Clients) -> None:
    factories.make_rogue(cluster, org.fraud, "theirs")
    factories.make_rogue(cluster, None, "nobodys")
    for person in (org.pat, org.yasmine, org.aud):
        assert sorted(names(client_for(person).get("/rogue/"))) == ["nobodys", "theirs"]
    assert names(client_for(org.dana).get("/rogue/")) == ["theirs"]
    assert names(client_for(org.cy).get("/rogue/")) == []
    hidden = RogueWorkload.objects.get(name="nobodys")
    assert client_for(org.dana).get(f"/rogue/{hidden.pk}/").status_code == 404


def test_who_is_told_learns_nothing_of_a_project_that_they_may_not_see(
    org: Org, cluster: Cluster, client_for: Clients
) -> None:
    """Its labels name cy, and whoever may write the object may write them."""
    row = factories.make_rogue(cluster, org.fraud, "scorer", owner=org.cy)
    services.notify(org.principal(org.pat), row)
    cy = client_for(org.cy)
    page = cy.get("/notifications/").content.decode()
    assert "scorer runs without an approval" in page and org.fraud.slug not in page
    answer = cy.get(f"/rogue/{row.pk}/adopt/")
    assert answer.status_code == 302 and org.fraud.slug not in answer["Location"]
    RogueWorkload.objects.update(owner=org.dana)
    assert f"project={org.fraud.slug}" in client_for(org.dana).get(f"/rogue/{row.pk}/adopt/")["Location"]


def test_the_list_filters_and_exports(org: Org, cluster: Cluster, client_for: Clients) -> None:
    factories.make_rogue(cluster, None, "scorer", device_seconds=7200)
    factories.make_rogue(cluster, None, "train", by_image=False, engine="", claim="imitated", device_seconds=3600)
    factories.make_rogue(cluster, None, "old", state=RogueState.GONE)
    pat = client_for(org.pat)
    assert names(pat.get("/rogue/")) == ["scorer", "train"], "most hours first, what is gone is left out"
    assert names(pat.get("/rogue/?reason=imitated")) == ["train"]
    assert names(pat.get("/rogue/?reason=image&q=scor")) == ["scorer"]
    assert names(pat.get("/rogue/?state=gone")) == ["old"]
    assert names(pat.get(f"/rogue/?cluster={cluster.slug}&sort=workload")) == ["scorer", "train"]
    answer: Any = pat.get("/rogue/?format=csv")
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert len(lines) == 3 and "gpu_hours" in lines[0] and "scorer" in lines[1]


def test_the_list_costs_the_same_for_many(org: Org, cluster: Cluster, client_for: Clients) -> None:
    pat, counts = client_for(org.pat), []
    for more in (1, 20):
        for number in range(more):
            factories.make_rogue(cluster, org.fraud, f"w{more}-{number}", owner=org.dana)
        with CaptureQueriesContext(
            connection,
        ) as found:
            pat.get("/rogue/")
        counts.append(len(found))
    assert counts[0] == counts[1] <= 15


def test_its_page_says_why_and_offers_what_may_be_done(org: Org, cluster: Cluster, client_for: Clients) -> None:
    row = factories.make_rogue(cluster, org.fraud, claim="imitated", claim_says="Labels are borrowed.")
    page = client_for(org.pat).get(f"/rogue/{row.pk}/").content.decode()
    for word in (
        "1 × nvidia.com/gpu",
        "Labels are borrowed.",
        "30.0",
        "omar",
        "Adopt by request",
        "Leave it until then",
    ):
        assert word in page, word
    seen = client_for(org.dana).get(f"/rogue/{row.pk}/").content.decode()
    assert "Adopt by request" in seen and "Leave it until then" not in seen and "Tell them" not in seen


def test_adopting_opens_a_filled_form(org: Org, cluster: Cluster, client_for: Clients) -> None:
    version = factories.make_version()
    factories.make_profile(gpus=1, slug="one-gpu", resource="nvidia.com/gpu")
    model = version.source.partition("://")[2].partition("@")[0] or version.source
    row = factories.make_rogue(cluster, org.fraud)
    row.facts |= {"model": model, "context_tokens": 8192}
    row.save(update_fields=["facts"])
    answer = client_for(org.dana).get(f"/rogue/{row.pk}/adopt/")
    assert answer.status_code == 302
    for part in (f"adopts={row.pk}", f"asset={version.asset.slug}", "hardware_profile=one-gpu", "context_tokens=8192",
                 "project=fraud-detection", "name=scorer"):  # fmt: skip
        assert part in answer["Location"], part
    form = client_for(org.dana).get(answer["Location"])
    assert form.status_code == 200 and "Deployment team-a/scorer" in form.content.decode()


def test_telling_and_leaving_from_the_page(org: Org, cluster: Cluster, client_for: Clients) -> None:
    row, pat = factories.make_rogue(cluster, org.fraud), client_for(org.pat)
    assert pat.post(f"/rogue/{row.pk}/notify/", {"note": "Please look."}).status_code == 302
    row.refresh_from_db()
    assert row.state == RogueState.NOTICED
    bad = pat.post(f"/rogue/{row.pk}/waive/", {"ends_on": "soon", "reason": ""})
    assert bad.status_code == 422 and "write a date" in bad.content.decode()
    soon = timezone.now().date() + dt.timedelta(days=20)
    assert pat.post(f"/rogue/{row.pk}/waive/", {"ends_on": soon.isoformat(), "reason": "Moves."}).status_code == 302
    row.refresh_from_db()
    assert (row.state, row.waived_until) == (RogueState.WAIVED, soon)
    pat.post(f"/rogue/{row.pk}/revoke/")
    row.refresh_from_db()
    assert row.state == RogueState.OPEN


def test_the_api_says_the_same(org: Org, cluster: Cluster, api_for: Any) -> None:
    row = factories.make_rogue(cluster, org.fraud)
    me = api_for(org.pat, "endpoints:read", "endpoints:write")
    (found,) = me.get("/insights/rogue").json()["items"]
    assert found | {
        "id": row.pk, "cluster": cluster.slug, "kind": "Deployment", "accelerators": 1, "gpu_hours": 30.0,
        "reasons": ["accelerators", "image"], "state": "open", "project": "fraud-detection",
    } == found  # fmt: skip
    assert found["age_seconds"] == 30 * 3600
    assert me.get("/insights/rogue", {"state": "odd"}).status_code == 422
    assert me.get("/insights/rogue", {"reason": "kserve"}).json()["items"] == []
    assert me.post(f"/insights/rogue/{row.pk}/notify", {}).json()["told"] == ["omar"]
    day = (timezone.now().date() + dt.timedelta(days=9)).isoformat()
    told = me.post(f"/insights/rogue/{row.pk}/waive", {"ends_on": day, "reason": "Moves."}).json()
    assert (told["state"], told["waived_until"]) == ("waived", day)
    assert me.get(f"/insights/rogue/{10**30}").status_code in (404, 422)


def test_home_counts_what_is_open(org: Org, cluster: Cluster, client_for: Clients) -> None:
    factories.make_rogue(cluster, None)
    factories.make_rogue(cluster, None, "left", state=RogueState.WAIVED)
    page = client_for(org.yasmine).get("/").content.decode()
    assert "1 workload runs without approval" in page or "Without approval" in page


def test_an_engineer_takes_a_profile_and_maps_a_namespace(org: Org, cluster: Cluster, client_for: Clients) -> None:
    proposal, pat = factories.make_proposal(cluster), client_for(org.pat)
    page = pat.get("/import/").content.decode()
    assert "NVIDIA L40S" in page and "4 cores" in page
    wrong = pat.post(
        f"/import/{proposal.pk}/", {"slug": "l40s", "name": "L40S", "memory_gib": "", "price_per_hour": "2"}
    )
    assert wrong.status_code == 422 and "Memory is missing" in wrong.content.decode()
    good = {"slug": "l40s", "name": "L40S", "memory_gib": "48", "price_per_hour": "2.50"}
    for typed, said in {"much": "which is no number", "NaN": "which is no number", "0": "write 0.1 to 1,024"}.items():
        wrong = pat.post(f"/import/{proposal.pk}/", good | {"memory_gib": typed})
        assert (
            wrong.status_code == 422 and said in wrong.content.decode() and f'value="{typed}"' in wrong.content.decode()
        )
    assert pat.post(f"/import/{proposal.pk}/", good).status_code == 302
    made = HardwareProfile.objects.get(slug="l40s")
    assert (made.accelerator_count, made.resource, made.memory_bytes) == (1, "nvidia.com/gpu", 48 * 2**30)
    assert pat.post(f"/import/{proposal.pk}/", good | {"slug": "other"}).status_code == 422
    space = Proposal.objects.create(
        cluster=cluster, kind="project", name="team-a", uid="u-1", content={"slug": "team-a", "name": "Team A"},
        seen_at=timezone.now(),
    )  # fmt: skip
    row = factories.make_rogue(cluster)
    taken = pat.post(f"/import/{space.pk}/", {"project": "fraud-detection"}, follow=True).content.decode()
    assert "team-a belongs to Fraud detection now" in taken
    row.refresh_from_db()
    assert row.project == org.fraud and Mapped.objects.get().namespace == "team-a"
    assert client_for(org.aud).post(f"/import/{space.pk}/", {}).status_code == 403
