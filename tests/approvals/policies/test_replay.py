"""The record of a decision, and its replay under other rules."""

from typing import Any

import pytest

from approvals import services
from approvals.models import Decision, Publication, Request
from approvals.policies import record, replay
from approvals.policies.active import baseline
from approvals.representation import with_all
from catalog.models import Evidence
from portal.errors import Conflict, Invalid
from tests.approvals.policies.kit import publish, rule, stage
from tests.conftest import Org
from tests.factories import make_request, make_version

pytestmark = pytest.mark.slow


def fresh(item: Request) -> Request:
    """As pages read it."""
    found: Request = with_all(Request.objects.filter(pk=item.pk)).get()
    return found


def verdicts(found: replay.Replay) -> dict[str, tuple[str, str]]:
    """Then and now, of what changed."""
    return {line.id: (line.then, line.now) for line in found.lines if line.changed}


@pytest.fixture
def decided(org: Org) -> Request:
    """A request for 60 days that was approved under a rule that allows 90."""
    publish(org, rule(days=90))
    return fresh(make_request(org.dana, state="approved"))


def test_a_decision_keeps_what_it_was_taken_from(org: Org) -> None:
    """Bundle, input, verdicts, evidence; of an approval and of a refusal."""
    version = make_version()
    for state in ("approved", "rejected"):
        item = make_request(org.dana, state=state, version=version)
        decision = Decision.objects.get(request=item)
        assert decision.bundle_digest == baseline().digest
        assert decision.inputs == item.plan["document"] and decision.verdicts == item.plan["checks"]
        found = {one.kind: one.digest for one in Evidence.objects.filter(version=version)}
        assert decision.evidence == found != {}
        assert record.is_as_audited(decision) is True


def test_a_plan_of_an_earlier_release_has_an_empty_record() -> None:
    """It names neither bundle nor document."""
    assert record.of({"checks": [{"id": "cat-001"}]}) == {
        "bundle_digest": "", "inputs": {}, "verdicts": [{"id": "cat-001"}], "evidence": {},
    }  # fmt: skip


def test_todays_rules_judge_the_input_of_then(org: Org, decided: Request) -> None:
    """What changed comes first; a rule that is new was not asked then, one that is gone is not asked now."""
    assert replay.of(decided).lines[0].then == "pass" and not verdicts(replay.of(decided))
    publish(
        org,
        rule(days=30, severity="deny"),
        rule("new-rule", days=300),
        stage(when='request.environment == "prod" || request.name.startsWith("scoring-")'),
    )
    found = replay.of(decided)
    assert verdicts(found) == {"life-900": ("pass", "fail"), "new-rule": ("–", "pass")}
    assert found.lines[0].id == "life-900" and "60 days" in found.lines[0].reason
    assert not found.would_pass and (found.of, found.by, found.intact) == ("decision", "pat", True)
    assert found.then["version"].endswith(".1") and found.now["version"].endswith(".2")
    assert found.stages_now == ("Governance",)
    Decision.objects.get(request=decided)  # nothing was written: still one


def test_any_bundle_that_was_published_can_be_chosen(org: Org, decided: Request) -> None:
    """By version, by digest, the baseline; anything else is named as unknown."""
    publish(org, rule(days=30))
    first = Publication.objects.get(number=1)
    assert not verdicts(replay.of(decided, first.version)) and not verdicts(replay.of(decided, first.bundle.digest))
    assert verdicts(replay.of(decided, "baseline"))["life-900"] == ("pass", "–")
    for name in ("2020.1.1", "sha256:0", "x" * 500, "a\0b", "'; --"):
        with pytest.raises(Invalid) as error:
            replay.of(decided, name)
        assert "bundle" in error.value.fields


def test_a_submission_is_replayed_while_nobody_decided(org: Org) -> None:
    """By the input that is frozen in its plan."""
    item = fresh(make_request(org.dana))
    publish(org, rule(days=30))
    found = replay.of(item)
    assert (found.of, found.by, found.intact) == ("submission", "dana", True)
    assert verdicts(found)["life-900"] == ("–", "warn")
    with pytest.raises(Conflict) as error:
        replay.of(fresh(make_request(org.dana, state="draft")))
    assert error.value.code == "no_record"


@pytest.mark.parametrize("column", ["inputs", "verdicts", "evidence", "bundle_digest"])
def test_a_record_that_was_changed_is_told(decided: Request, column: str) -> None:
    """The audit row names the digest of what was signed."""
    decision = Decision.objects.get(request=decided)
    value: Any = getattr(decision, column)
    if column == "inputs":
        value["request"]["days"] = 1
    elif column == "verdicts":
        value[0]["verdict"] = "fail"
    else:
        value = {"licence": "sha256:0"} if column == "evidence" else "sha256:0"
    Decision.objects.filter(pk=decision.pk).update(**{column: value})
    found = replay.of(fresh(decided))
    assert found.intact is False and "changed" in found.trouble


def test_a_plan_that_was_changed_is_told(org: Org) -> None:
    """Also before anybody decided."""
    item = make_request(org.dana)
    item.plan["document"]["request"]["days"] = 1
    Request.objects.filter(pk=item.pk).update(plan=item.plan)
    found = replay.of(fresh(item))
    assert found.intact is False and "digest" in found.trouble


def test_a_waived_rule_failed_then(org: Org, decided: Request) -> None:
    """The waiver let it pass, not the rule."""
    decision = Decision.objects.get(request=decided)
    checks = [check | {"verdict": "waived"} if check["id"] == "life-900" else check for check in decision.verdicts]
    assert replay.lines(checks, decision.inputs, replay.find("now"))[0].then == "fail"


def test_page_and_api_say_the_same(org: Org, decided: Request, client_for: Any, api_for: Any) -> None:
    """With the choice of bundles, the change in words, and a refusal that says what would do."""
    publish(org, rule(days=30, severity="deny"))
    address = f"/requests/{decided.pk}/replay/"
    html = client_for(org.dana).get(address).content.decode()
    assert "says something else of 1 rule" in html and "The end date is in 60 days." in html and "changed" in html
    assert f'href="{address}"' in client_for(org.dana).get(f"/requests/{decided.pk}/").content.decode()
    assert client_for(org.dana).get(f"{address}?bundle=2020.1.1").status_code == 422
    body = api_for(org.dana, "requests:read").get(f"/requests/{decided.pk}/replay").json()
    assert body["changed"] == 1 and body["intact"] is True and body["checks"][0]["now"] == "fail"
    assert api_for(org.dana, "requests:read").get(f"/requests/{decided.pk}/replay?bundle=x").status_code == 422
    assert api_for(org.cy, "requests:read").get(f"/requests/{decided.pk}/replay").status_code == 404
    draft = services.draft(org.principal(org.dana), {"kind": "endpoint", "project": "fraud-detection"})
    assert "nothing to replay" in client_for(org.dana).get(f"/requests/{draft.pk}/replay/").content.decode()
