"""Many keys end at once: by person, project, endpoint or prefix; counted first; never somebody else's."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from endpoints.key_revocation import revoke_keys
from endpoints.keys import issue_key
from portal.errors import Forbidden, Invalid
from projects import epoch, keys
from projects.models import ApiKey, Membership, Role
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(org: Org) -> dict[str, Any]:
    """Keys of dana (one bound to an endpoint, one for the project), of omar, and of cy in another project."""
    endpoint = open_demo(org.fraud)
    dana, omar, cy = (Principal.of(person) for person in (org.dana, org.omar, org.cy))
    made = {
        "bound": issue_key(dana, org.fraud, "bound", [endpoint.name])[0],
        "whole": issue_key(dana, org.fraud, "whole", [])[0],
        "omar": issue_key(omar, org.fraud, "omar's", [])[0],
        "cy": issue_key(cy, org.search, "cy's", [])[0],
    }
    return {"endpoint": endpoint, **made}


def names(done: Any) -> set[str]:
    return {key.name for key in done.keys}


def living() -> set[str]:
    return set(ApiKey.objects.filter(state="active").values_list("name", flat=True))


def test_a_dry_run_counts_and_changes_nothing(org: Org, made: dict[str, Any]) -> None:
    before, rows = epoch.current(), Row.objects.count()
    done = revoke_keys(Principal.of(org.pat), {"person": "dana"}, dry_run=True)
    assert names(done) == {"bound", "whole"}
    assert living() == {"bound", "whole", "omar's", "cy's"}
    assert (epoch.current(), Row.objects.count()) == (before, rows)


def test_by_person_ends_all_of_them_and_says_so_in_the_audit(org: Org, made: dict[str, Any]) -> None:
    before = epoch.current()
    done = revoke_keys(Principal.of(org.pat), {"person": "dana"}, reason="Laptop stolen.")
    assert names(done) == {"bound", "whole"} and living() == {"omar's", "cy's"}
    written = Row.objects.filter(action="keys.revoke")
    assert {row.object_id for row in written} == {str(made["bound"].pk), str(made["whole"].pk)}
    assert {row.reason for row in written} == {"Laptop stolen."} and epoch.current() > before


def test_by_endpoint_says_how_many_more_reach_it(org: Org, made: dict[str, Any]) -> None:
    which = {"endpoint": f"fraud-detection/{made['endpoint'].name}"}
    done = revoke_keys(Principal.of(org.omar), which)
    assert names(done) == {"bound"} and done.also_for_whole_project == 2
    by_id = revoke_keys(Principal.of(org.omar), {"endpoint": str(made["endpoint"].pk)}, dry_run=True)
    assert names(by_id) == set()


def test_by_project_and_by_prefix(org: Org, made: dict[str, Any]) -> None:
    _, secret = issue_key(Principal.of(org.cy), org.search, "leaked", [])
    done = revoke_keys(Principal.of(org.pat), {"prefix": secret})  # pasted whole: only its prefix is looked at
    assert names(done) == {"leaked"} and keys.find(secret) is None
    assert secret not in str(list(Row.objects.values_list("after", "before", "reason")))
    assert names(revoke_keys(Principal.of(org.pat), {"project": "fraud-detection"})) == {"bound", "whole", "omar's"}


def test_developers_end_their_own_owners_all_of_the_project_and_nobody_those_of_others(
    org: Org, made: dict[str, Any]
) -> None:
    mine = revoke_keys(Principal.of(org.dana), {"project": "fraud-detection"}, dry_run=True)
    assert names(mine) == {"bound", "whole"}
    all_of_it = revoke_keys(Principal.of(org.omar), {"project": "fraud-detection"}, dry_run=True)
    assert names(all_of_it) == {"bound", "whole", "omar's"}
    assert names(revoke_keys(Principal.of(org.cy), {"person": "dana"}, dry_run=True)) == set()
    for person in (org.vic, org.yasmine, org.aud):
        with pytest.raises(Forbidden):
            revoke_keys(Principal.of(person), {"person": "dana"})
    assert len(living()) == 4


def test_a_bound_token_stays_in_its_project(org: Org, made: dict[str, Any]) -> None:
    Membership.objects.create(project=org.search, user=org.dana, role=Role.DEVELOPER)
    issue_key(Principal.of(org.dana), org.search, "elsewhere", [])
    bound = Principal.of(org.dana, via="token", project_id=org.search.pk)
    assert names(revoke_keys(bound, {"person": "dana"})) == {"elsewhere"}
    assert living() == {"bound", "whole", "omar's", "cy's"}


@pytest.mark.parametrize(
    ("which", "field"),
    [
        ({}, "by"),
        ({"colour": "red"}, "by"),
        ({"person": "nobody-here"}, "by.person"),
        ({"project": "search-ranking"}, "by.project"),  # omar may not see it
        ({"project": "../etc"}, "by.project"),
        ({"endpoint": "search-ranking/none"}, "by.endpoint"),
        ({"endpoint": "scoring"}, "by.endpoint"),
        ({"prefix": "gth_"}, "by.prefix"),
        ({"prefix": "gth_\x00bcdefgh"}, "by.prefix"),
    ],
)
def test_what_cannot_be_meant_is_named_and_nothing_ends(
    org: Org, made: dict[str, Any], which: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        revoke_keys(Principal.of(org.omar), which)
    assert field in refused.value.fields and len(living()) == 4


def test_the_api_counts_then_ends_and_never_shows_a_secret(org: Org, made: dict[str, Any], api_for: Any) -> None:
    api = api_for(org.omar, "endpoints:write")
    body = {"by": {"project": "fraud-detection", "person": "dana"}, "dry_run": True}
    counted = api.post("/keys/revoke", body).json()
    assert counted["count"] == 2 and counted["dry_run"] and {key["state"] for key in counted["keys"]} == {"active"}
    ended = api.post("/keys/revoke", body | {"dry_run": False, "reason": "Drill."}).json()
    assert ended["count"] == 2 and {key["state"] for key in ended["keys"]} == {"revoked"}
    assert not any("secret" in key for key in ended["keys"])
    assert api.post("/keys/revoke", {"by": "dana"}).status_code == 422
    assert api.post("/keys/revoke", {"by": {"person": "x" * 9000}}).status_code == 422


def test_the_page_asks_for_the_number_before_anything_ends(org: Org, made: dict[str, Any], client_for: Any) -> None:
    client: Client = client_for(org.omar)
    form = {"person": "dana", "project": "", "endpoint": "", "prefix": "", "reason": "Drill."}
    counted = client.post("/keys/revoke/", form)
    assert b"revoke 2" in counted.content and len(living()) == 4
    wrong = client.post("/keys/revoke/", form | {"confirm": "revoke 3"})
    assert b"Type revoke 2 exactly" in wrong.content and len(living()) == 4
    assert client.post("/keys/revoke/", form | {"confirm": "revoke 2"}).status_code == 302
    assert living() == {"omar's", "cy's"}


def test_it_costs_the_same_reads_for_few_and_many(org: Org, made: dict[str, Any]) -> None:
    def reads() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            revoke_keys(Principal.of(org.omar), {"project": "fraud-detection"}, dry_run=True)
        return len(seen)

    before = reads()
    for number in range(20):
        issue_key(Principal.of(org.dana), org.fraud, f"more {number}", [])
    assert reads() == before
