"""At the same instant: two requests for the same server, and a card that changes while its version is let in."""

from collections.abc import Callable

import pytest

from approvals import admission, services
from approvals.models import Request
from catalog import services as catalog
from catalog.models import Asset, Tool, Version
from catalog.specs import CardSpec, VersionSpec
from portal.errors import Conflict
from projects.models import User
from projects.principal import Principal
from tests.approvals.test_admission import VERSION, propose
from tests.approvals.test_concurrency import approving, at_once
from tests.catalog.mcp_kit import ACCOUNTS, approved, make_server
from tests.conftest import Org

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

BODY = {
    "kind": "mcp-access", "project": "fraud-detection", "asset": "ledger-query", "version": "1.4.0",
    "tools": ["list_accounts"], "purpose": "The desk's assistant.",
}  # fmt: skip


def test_two_requests_for_the_same_server_at_the_same_instant(org: Org) -> None:
    """One waits, the other one is told so, and nothing is left of it; ten times, since an instant is short."""
    version = make_server("https://ledger.example.com/mcp")
    Tool.objects.create(version=version, name="list_accounts", digest="sha256:1", definition=ACCOUNTS)
    approved(version)

    def sending(user: User) -> Callable[[], str]:
        return lambda: str(services.send(Principal.of(user), BODY).state)

    for _ in range(10):
        assert at_once(sending(org.dana), sending(org.omar)) == ["already_asked", "submitted"]
        (waiting,) = Request.objects.filter(kind="mcp-access", state="submitted")
        assert not Request.objects.filter(kind="mcp-access", state="draft").exists()
        services.withdraw(Principal.of(waiting.requester), waiting)


def test_two_versions_of_one_name_at_the_same_instant(org: Org) -> None:
    """One is there, and the other proposer is told so."""
    propose(org.dana)
    asset = Asset.objects.get(slug="tiny")
    for number in range(5):
        spec = VersionSpec.model_validate({**VERSION, "version": f"2.{number}"})

        def adding(user: User, spec: VersionSpec = spec) -> Callable[[], str]:
            return lambda: str(catalog.add_version(Principal.of(user), asset, spec).state)

        assert at_once(adding(org.pat), adding(org.yasmine)) == ["draft", "name_taken"]


def test_a_card_that_changes_while_its_version_is_let_in(org: Org) -> None:
    """Whoever comes first: a version is let in with the card that was sent, or not at all."""
    for number in range(5):
        version = propose(org.dana, slug=f"tiny-{number}")
        made = admission.submit(Principal.of(org.dana), version)
        asset = version.asset

        def changing(asset: Asset = asset) -> str:
            return catalog.change_asset(Principal.of(org.dana), asset, CardSpec(summary="Something else.")).summary

        outcomes = at_once(approving(org.pat, made), changing)
        assert outcomes in (["approved", "forbidden"], ["Something else.", "plan_stale"]), outcomes
        asset.refresh_from_db()
        let_in = Version.objects.get(pk=version.pk).state == "approved"
        assert let_in == (asset.summary == "Small.")


def test_a_block_a_decision_and_a_change_wait_for_each_other(org: Org) -> None:
    """They hold the same rows in the same order: none of them ends in a deadlock."""
    for number in range(5):
        version = propose(org.dana, slug=f"tiny-{number}")
        made = admission.submit(Principal.of(org.dana), version)

        def blocking(version: Version = version) -> str:
            return str(catalog.block(Principal.of(org.yasmine), version, "A finding.").state)

        def changing(version: Version = version) -> str:
            try:
                return catalog.change_asset(Principal.of(org.ravi), version.asset, CardSpec(summary="Other.")).summary
            except Conflict as error:  # pragma: no cover - a steward is refused by nothing
                return error.code

        outcomes = at_once(approving(org.pat, made), blocking, changing)
        assert "blocked" in outcomes and "Other." in outcomes, outcomes
        assert Version.objects.get(pk=version.pk).state == "blocked"
