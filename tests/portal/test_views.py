"""Forbidden pages say which role would do, who has it and where to ask; hidden things stay hidden."""

from collections.abc import Callable
from typing import Any

from django.db import DataError
from django.http import HttpResponse
from django.test import Client, RequestFactory

from portal.middleware import expected_errors
from projects.models import Membership, Project, Role, User
from tests.conftest import Org
from tests.factories import make_endpoint, make_request

ClientFor = Callable[[Any], Client]


def test_a_reader_learns_whom_to_ask_in_the_project(org: Org, client_for: ClientFor) -> None:
    endpoint = make_endpoint(org.dana, name="scoring")
    response = client_for(org.vic).post(f"/endpoints/{endpoint.pk}/suspend/")
    page = response.content.decode()
    assert response.status_code == 403
    assert "owner of fraud-detection" in page and "developer of fraud-detection" in page
    assert ">omar <" in page and ">pat <" in page and "platform engineer" in page
    assert 'href="/projects/fraud-detection/"' in page


def test_owners_come_first_and_five_are_enough(org: Org, client_for: ClientFor) -> None:
    for number in range(8):
        person = User.objects.create_user(username=f"aa-owner-{number}")
        Membership.objects.create(project=org.fraud, user=person, role=Role.OWNER)
    User.objects.filter(username="aa-owner-0").update(is_active=False)
    endpoint = make_endpoint(org.dana, name="scoring")
    page = client_for(org.vic).post(f"/endpoints/{endpoint.pk}/suspend/").content.decode()
    assert page.count('class="gh-who"') == 5 and "aa-owner-0" not in page and ">pat <" not in page


def test_a_platform_page_names_the_groups_and_their_people(org: Org, client_for: ClientFor) -> None:
    request = make_request(org.dana)
    page = client_for(org.dana).get("/approvals/").content.decode()
    assert "platform engineer" in page and "governance lead" in page
    assert ">pat <" in page and ">yasmine <" in page and ">omar <" not in page
    page = client_for(org.dana).get(f"/approvals/{request.pk}/").content.decode()
    assert f'href="/requests/{request.pk}/"' in page and f"Ask in a comment on {request.number}" in page


def test_a_stranger_is_told_nothing_of_a_request(org: Org, client_for: ClientFor) -> None:
    request = make_request(org.dana)
    page = client_for(org.cy).get(f"/approvals/{request.pk}/").content.decode()
    assert f"/requests/{request.pk}/" not in page and "fraud-detection" not in page and ">dana<" not in page


def test_what_is_hidden_is_not_found_and_silent(org: Org, client_for: ClientFor) -> None:
    Project.objects.filter(pk=org.fraud.pk).update(name="Very secret")
    response = client_for(org.cy).get("/projects/fraud-detection/")
    page = response.content.decode()
    assert response.status_code == 404
    assert "Very secret" not in page and "omar" not in page and "A role that would allow it" not in page
    assert client_for(org.cy).get("/no/such/page").status_code == 404


def test_a_refusal_without_a_role_says_only_its_sentence(org: Org, client_for: ClientFor) -> None:
    draft = make_request(org.dana, state="draft")
    response = client_for(org.omar).post(f"/requests/{draft.pk}/withdraw/")
    assert response.status_code == 403 and "A role that would allow it" not in response.content.decode()
    assert "Only dana, who made" in response.content.decode()


def test_a_nul_that_only_the_database_refuses_is_refused_by_the_name_of_its_field(org: Org) -> None:
    request = RequestFactory().post("/somewhere/", {"delegate": "a\0b"})
    answer = expected_errors(lambda _: HttpResponse()).process_exception(request, DataError("no NUL (0x00) bytes"))
    assert answer is not None and answer.status_code == 422
    assert "delegate holds a NUL character. Remove it and try again." in answer.content.decode()
    plain = RequestFactory().post("/somewhere/", {"delegate": "pat"})
    assert expected_errors(lambda _: HttpResponse()).process_exception(plain, DataError("too long")) is None
