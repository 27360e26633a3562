"""People and the platform-wide groups that they are in."""

from typing import Any

import pytest
from django.contrib.auth.models import Group

from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid
from projects import people
from projects.models import User
from projects.permissions import can_anywhere
from projects.principal import Principal
from tests.conftest import Org

pytestmark = pytest.mark.django_db


def test_groups_are_set_with_a_reason_and_count_at_once(org: Org) -> None:
    people.set_groups(Principal.of(org.pat), org.cy, ["auditors"], reason="Joins the audit team.")
    assert can_anywhere(Principal.of(org.cy), "view", Row)
    row = Row.objects.filter(action="people.set_groups").get()
    assert row.reason == "Joins the audit team." and "auditors" in row.after
    people.set_groups(Principal.of(org.pat), org.cy, ["auditors"], reason="Once more.")  # nothing changes
    assert Row.objects.filter(action="people.set_groups").count() == 1
    people.set_groups(Principal.of(org.pat), org.cy, [], reason="Has left the team.")
    assert not can_anywhere(Principal.of(org.cy), "view", Row)


def test_only_platform_engineers_do_it(org: Org) -> None:
    for who in (org.dana, org.omar, org.yasmine, org.aud):
        with pytest.raises(Forbidden):
            people.set_groups(Principal.of(who), who, ["platform-engineers"], reason="Because.")


def test_somebody_who_runs_the_platform_is_always_left(org: Org) -> None:
    pat = Principal.of(org.pat)
    people.set_groups(pat, org.ravi, [], reason="Moves on.")
    with pytest.raises(Conflict) as refused:
        people.set_groups(pat, org.pat, [], reason="Moves on.")
    assert refused.value.code == "last_engineer" and org.pat.groups.exists()


def test_bad_input_is_named(org: Org) -> None:
    pat = Principal.of(org.pat)
    for groups, reason, field in ((["no-such"], "Because.", "groups"), ([], "", "reason"), ([], "x" * 400, "reason")):
        with pytest.raises(Invalid) as refused:
            people.set_groups(pat, org.cy, groups, reason=reason)
        assert field in refused.value.fields
    robot = people.create_person(pat, username="svc-robot", service=True)
    with pytest.raises(Conflict):
        people.set_groups(pat, robot, ["auditors"], reason="Because.")


def test_named_groups(org: Org) -> None:
    pat = Principal.of(org.pat)
    group = people.create_group(pat, "risk-analysts")
    people.set_groups(pat, org.cy, ["risk-analysts"], reason="Analyst.")
    with pytest.raises(Conflict, match="1 people"):
        people.delete_group(pat, group)
    for name in ("owner", "auditors", "qa-engineer", "risk-analysts"):
        with pytest.raises(Conflict):
            people.create_group(pat, name)
    for name in ("", "Risk Analysts", "a" * 41, "x\x00y"):
        with pytest.raises(Invalid):
            people.create_group(pat, name)
    with pytest.raises(Conflict, match="platform"):
        people.delete_group(pat, Group.objects.get(name="auditors"))
    people.set_groups(pat, org.cy, [], reason="Elsewhere.")
    people.delete_group(pat, group)
    assert not Group.objects.filter(name="risk-analysts").exists()


def test_pages(org: Org, client_for: Any) -> None:
    pat = client_for(org.pat)
    listed = pat.get("/people/?kind=person&group=governance-leads")
    assert b">yasmine<" in listed.content and b">dana<" not in listed.content
    assert client_for(org.aud).get("/people/").status_code == 200
    assert client_for(org.dana).get("/people/").status_code == 403
    csv = b"".join(pat.get("/people/?format=csv").streaming_content)
    assert b"yasmine" in csv and b"governance-leads" in csv
    form = {"groups": ["auditors"], "reason": "Joins."}
    assert pat.post("/people/cy/", form).status_code == 302
    assert User.objects.get(username="cy").groups.filter(name="auditors").exists()
    wrong = pat.post("/people/cy/", {"groups": ["governance-leads"], "reason": ""})
    assert (
        wrong.status_code == 422
        and b'id="g-governance-leads" name="groups" value="governance-leads" checked' in wrong.content
    )
    assert client_for(org.yasmine).post("/people/cy/", form).status_code == 403
    assert pat.get("/people/nobody-here/").status_code == 404
    assert pat.post("/groups/", {"name": "risk-analysts"}).status_code == 302
    assert pat.post("/groups/", {"name": "Risk Analysts"}).status_code == 422
    made = Group.objects.get(name="risk-analysts")
    assert pat.post(f"/groups/{made.pk}/delete/").status_code == 302
