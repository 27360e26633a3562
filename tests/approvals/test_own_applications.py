"""Nobody is two: whoever is behind an application decides nothing that it asked for, proposed or needs a waiver for."""

import pytest
from django.contrib.auth.models import Group

from approvals import admission, services
from approvals.envelopes import services as envelopes
from approvals.models import Reading, Request, RequestState, Verdict
from portal.errors import Forbidden
from projects.models import GOVERNANCE_LEADS, User
from projects.oauth import applications
from projects.oauth.reading import behind
from projects.principal import Principal
from tests.approvals.envelopes.kit import DEV, publish, switch
from tests.approvals.stage_kit import by, lend
from tests.approvals.test_admission import propose
from tests.approvals.waivers.kit import ask, rule
from tests.conftest import Org
from tests.factories import lead, make_request
from tests.projects.oauth_kit import register

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

SCOPES = ["requests:write", "catalog:write"]


def robot(maker: User, org: Org, owner: str = "omar") -> User:
    """The service account of an application that `maker` registered, and read the secret of."""
    made, secret = register(maker, org.fraud, owner=owner, scopes=SCOPES)
    assert secret and made.account is not None
    return made.account


def refused(person: User, request: Request) -> str:
    with pytest.raises(Forbidden) as caught:
        services.approve(by(person), request)
    assert Request.objects.get(pk=request.pk).state == RequestState.SUBMITTED
    return caught.value.code


def test_who_registered_it_for_somebody_else(org: Org) -> None:
    """pat holds the secret, whoever owns the application; a delegate of pat's is no way around."""
    made = make_request(robot(org.pat, org))
    assert refused(org.pat, made) == "own_request"
    lend(org.pat, org.omar)
    assert refused(org.omar, made) == "own_request"
    assert services.approve(by(org.ravi), made).state == RequestState.APPROVED


def test_who_was_handed_a_new_secret(org: Org) -> None:
    """Rotating shows the secret, so whoever did it may come as the application."""
    account = robot(org.omar, org)
    made = make_request(account)
    assert behind(account.username) == {org.omar.pk}
    applications.rotate(by(org.ravi), account.acts_for.get())
    assert behind(account.username) == {org.omar.pk, org.ravi.pk}
    assert refused(org.ravi, made) == "own_request"
    assert services.approve(by(org.pat), made).state == RequestState.APPROVED
    assert behind("nobody-there") == frozenset()


def test_a_waiver_for_what_it_asked(org: Org) -> None:
    """Somebody else asks for the waiver, and a lead who is behind the application does not grant it."""
    sent = make_request(robot(org.pat, org), concurrency=8)
    rule()
    asked = ask(org.ravi, sent)
    org.pat.groups.add(Group.objects.get_or_create(name=GOVERNANCE_LEADS)[0])
    assert refused(org.pat, asked) == "own_waiver"
    assert services.approve(lead(), asked).state == RequestState.APPROVED


def test_what_it_proposed(org: Org) -> None:
    """Sent to review by somebody else."""
    version = propose(robot(org.pat, org))
    made = admission.submit(by(org.ravi), version)
    assert refused(org.pat, made) == "own_request"
    assert services.approve(by(org.yasmine), made).state == RequestState.APPROVED


def test_the_later_review_of_what_a_rule_approved(org: Org) -> None:
    publish(DEV)
    switch("live", percent=100)
    made = make_request(robot(org.pat, org))
    verdict = Verdict.objects.get(request=made)
    assert (made.state, verdict.reading) == (RequestState.APPROVED, Reading.WAITING)
    with pytest.raises(Forbidden) as caught:
        envelopes.confirm(Principal.of(org.pat), verdict)
    assert caught.value.code == "own_request"
    assert envelopes.confirm(by(org.ravi), verdict).reading == Reading.CONFIRMED
