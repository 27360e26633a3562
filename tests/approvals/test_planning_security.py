"""The security half of a plan: numbers of callers, no names; what is enforced is said, and nothing else."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from approvals import services
from approvals.planning.around import around
from catalog import terms
from catalog.evidence.licence import terms as terms_of
from catalog.evidence.licences import LICENCES
from catalog.models import Evidence, Version
from endpoints import services as endpoint_services
from endpoints.services import issue_key
from projects.models import Membership, User
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import make_cluster, make_endpoint, make_profile, make_request, make_version, request_body

pytestmark = pytest.mark.slow
LLAMA = next(key for key, one in LICENCES.items() if one.acknowledge)


def plan_of(org: Org, **fields: Any) -> dict[str, Any]:
    """The plan of dana's request for a version of the catalog."""
    make_cluster()
    version = fields.pop("version", None) or make_version()
    names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": make_profile().slug}
    return services.check(Principal.of(org.dana), request_body(**names, **fields))


def test_who_can_call_is_numbers(org: Org) -> None:
    """Members by role, service accounts, and the keys that could call it at once: those that are bound to nothing."""
    version = make_version()
    endpoint = make_endpoint(org.dana, version=version, name="there")
    robot = User.objects.create_user(username="svc-secret-name", is_service=True)
    Membership.objects.create(project=org.fraud, user=robot, role="developer")
    issue_key(Principal.of(org.dana), org.fraud, "whole", [], None, 30)
    issue_key(Principal.of(org.dana), org.fraud, "bound", [endpoint.name], None, 30)
    plan = plan_of(org, version=version, name="fresh")
    callers = plan["security"]["callers"]
    assert {key: callers[key] for key in ("owners", "developers", "viewers", "service_accounts", "keys")} == {
        "owners": 1, "developers": 1, "viewers": 1, "service_accounts": 1, "keys": 1,
    }  # fmt: skip
    assert "svc-secret-name" not in str(plan["security"]) and "omar" not in str(plan["security"])
    there = around(org.fraud, endpoint=endpoint).callers
    assert (there.keys, there.others) == (2, 0)


def test_keys_of_other_projects_are_counted_where_it_is_shared(org: Org) -> None:
    """A revision changes what they call, too."""
    endpoint = make_endpoint(org.dana, name="shared")
    omar = Principal.of(org.omar)
    endpoint_services.share(omar, endpoint_services.set_shareable(omar, endpoint, True), org.search, ends_on=None)
    issue_key(Principal.of(org.cy), org.search, "theirs", ["fraud-detection/shared"], None, 30)
    made = make_request(org.dana, kind="revision", endpoint=endpoint, replicas=2)
    half = made.plan["security"]
    assert half["callers"]["keys_of_others"] == 1 and half["exposure"]["value"] == "shareable"


def test_data_exposure_and_egress_are_said_as_they_are(org: Org) -> None:
    """Nothing is promised that the driver of the cluster does not enforce."""
    half = plan_of(org, data_classification="restricted")["security"]
    assert half["data"]["class"] == "restricted" and "made-up data" in half["data"]["sentence"]
    assert half["exposure"]["value"] == "project"
    assert half["egress"] == {"driver": "local", "enforced": False, "sentence": half["egress"]["sentence"]}
    assert half["egress"]["sentence"].startswith("Not enforced")


def test_licence_terms_are_shown_until_they_are_acknowledged(org: Org) -> None:
    """With the words, and for this project."""
    version = make_version()
    Version.objects.filter(pk=version.pk).update(licence=LLAMA)
    half = plan_of(org, version=version, name="one")["security"]["licence"]
    assert half["expression"] == LLAMA and half["acknowledged"] is False and half["restrictions"][0]["terms"]
    keys = [one.key for one in terms_of(LLAMA)]
    terms.acknowledge(Principal.of(org.omar), org.fraud, [LLAMA], keys)
    again = plan_of(org, version=version, name="two")["security"]["licence"]
    assert again["acknowledged"] is True and "are acknowledged" in again["sentence"]


def test_findings_stand_with_verdict_age_and_digest(org: Org) -> None:
    """The newest of each kind; one that has expired says so."""
    version = make_version()
    old = timezone.now() - dt.timedelta(days=40)
    Evidence.objects.filter(version=version, kind="card").update(collected_at=old, expires_at=old)
    found = {one["kind"]: one for one in plan_of(org, version=version)["security"]["evidence"]}
    assert found["card"]["age_days"] == 40 and found["card"]["expired"] is True
    assert found["licence"]["verdict"] == "pass" and found["licence"]["digest"].startswith("sha256:")


def test_the_project_is_asked_once(org: Org, django_assert_num_queries: Any) -> None:
    """Members, keys, terms and the name in one query, however many there are."""
    make_endpoint(org.dana, name="scoring")
    asked = terms_of(LLAMA)
    with django_assert_num_queries(1):
        near = around(org.fraud, asked, name="scoring")
    assert near.taken and len(near.missing) == len(asked) and near.callers.owners == 1
    assert not around(org.fraud, name="other").taken


def test_a_plan_of_another_kind_leaves_out_what_does_not_apply(org: Org) -> None:
    """Access has callers without keys; a renewal has all; nothing has names."""
    endpoint = make_endpoint(org.cy, project="search-ranking", name="answers")
    endpoint_services.set_shareable(Principal.of(org.cy), endpoint, True)
    access = make_request(org.dana, kind="access", endpoint=endpoint)
    assert access.plan["security"]["exposure"]["value"] == "shared"
    assert access.plan["security"]["callers"]["keys"] == 0 and access.plan["schema"] == 2
    assert "loads" not in access.plan and "sharing" not in access.plan
