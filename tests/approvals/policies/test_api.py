"""REST API of policies: what counts, previews, publishing and rolling back; scopes, errors and hostile bodies."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache

from approvals.models import Preview, Publication
from approvals.policies import preview
from approvals.policies.active import active, baseline
from audit.models import Row
from projects.models import IdempotentAnswer
from tests.approvals.policies.kit import bundle, publish, rule, stage
from tests.conftest import ApiClient, Org
from tests.factories import make_request

pytestmark = pytest.mark.slow

Api = Callable[..., ApiClient]
READ, WRITE = "policies:read", "policies:write"


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    return body


def test_get_policies(org: Org, api_for: Api) -> None:
    """Version, digest, rules with their hits, stages, envelopes and publications, for anybody with the scope."""
    shipped = api_for(org.dana, READ).get("/policies").json()
    assert (shipped["version"], shipped["number"], shipped["publications"]) == ("baseline", 0, [])
    assert shipped["digest"] == baseline().digest and "files" not in shipped
    made = publish(org, rule(days=30), stage(), reason="Shorter lives.")
    make_request(org.dana)
    cache.clear()  # hits are kept for a minute
    body = api_for(org.pat, READ).get("/policies?files=true").json()
    assert (body["version"], body["number"], body["digest"]) == (made.version, 1, made.bundle.digest)
    one = body["rules"][0]
    assert one["id"] == "life-900" and one["expression"] == "request.days <= 30" and one["severity"] == "warn"
    assert one["hits"] == {"failed": 0, "waived": 0, "warned": 1, "endpoints": 0} and one["tests"] == 2
    assert one["controls"] == {"OSPS Baseline": ["OSPS-QA-01"]}
    assert body["stages"][0]["roles"] == ["governance-leads"] and body["envelopes"] == []
    assert body["publications"][0] | {"at": ""} == {
        "number": 1, "version": made.version, "digest": made.bundle.digest, "rules": 1, "reason": "Shorter lives.",
        "rolled_back": False, "by": "yasmine", "at": "",
    }  # fmt: skip
    assert body["files"] == bundle(rule(days=30), stage())
    # What rules hit is counted over all projects: no business of whoever is in some of them, or of a bound token.
    for caller in (api_for(org.dana, READ), api_for(org.pat, READ, project=org.fraud)):
        seen = caller.get("/policies").json()
        assert seen["rules"][0]["hits"] is None and seen["digest"] == body["digest"]
        assert all(one["agreement"] is None for one in seen["envelopes"])


def test_preview(org: Org, api_for: Api) -> None:
    """202 and where to ask; done, it says what would change; nothing counts by it."""
    publish(org, rule(days=90))
    waits = make_request(org.dana)
    writes, reads = api_for(org.yasmine, WRITE), api_for(org.yasmine, READ)
    response = writes.post("/policies/preview", {"files": bundle(rule(days=30, severity="deny"))})
    assert response.status_code == 202
    made = response.json()
    assert (made["state"], made["done"], made["changes"]) == ("queued", 0, [])
    where = response["Location"]
    assert where == f"/api/v1/policies/previews/{made['id']}"
    preview.run_due()
    done = reads.get(where).json()
    assert (done["state"], done["done"], done["total"], done["changed"]) == ("done", 1, 1, 1)
    change = done["changes"][0]
    assert (change["kind"], change["id"], change["now"], change["then"]) == ("request", str(waits.pk), "pass", "fail")
    assert active().bundle.digest != done["digest"] and active().bundle.digest == done["against"]
    problem(api_for(org.dana, READ).get(where), 404, "not_found")
    problem(reads.get("/policies/previews/987654"), 404, "not_found")
    problem(reads.get(f"/policies/previews/{2**70}"), 404, "not_found")
    problem(writes.post("/policies/preview", {"files": {"rules/x.yaml": "id: ["}}), 422, "invalid")


def test_publish(org: Org, api_for: Api) -> None:
    """201 with its version; the same base a second time is 409, a red test 422 that names it."""
    api = api_for(org.yasmine, WRITE)
    base = baseline().digest
    response = api.post("/policies/publish", {"files": bundle(rule(days=30)), "reason": "Shorter.", "base": base})
    assert response.status_code == 201 and response.json()["number"] == 1 and response.json()["by"] == "yasmine"
    row = Row.objects.get(action="policies.publish")
    assert (row.via, row.reason) == ("token", "Shorter.")
    more = {"files": bundle(rule(days=20)), "reason": "Shorter still.", "base": base}
    problem(api.post("/policies/publish", more), 409, "changed_meanwhile")
    problem(api.post("/policies/publish", {"files": bundle(rule(days=30)), "reason": "Again."}), 409, "same_bundle")
    red = problem(
        api.post("/policies/publish", {"files": bundle(rule(red=True)), "reason": "No."}), 422, "tests_failed"
    )
    assert red["errors"] == [{"field": "rules/life-900.yaml: wrong", "message": "expects fail and gets pass."}]
    assert Publication.objects.count() == 1


def test_roll_back(org: Org, api_for: Api) -> None:
    """To an earlier number, or to the baseline."""
    publish(org, rule(days=30))
    publish(org, rule(days=20))
    api = api_for(org.yasmine, WRITE)
    made = api.post("/policies/roll-back", {"number": 1, "reason": "Too strict."}).json()
    assert (made["number"], made["rolled_back"]) == (3, True)
    assert api.post("/policies/roll-back", {"number": 0, "reason": "From the start."}).status_code == 201
    assert active().bundle.digest == baseline().digest
    problem(api.post("/policies/roll-back", {"number": 77, "reason": "Where?"}), 404, "not_found")
    for number in (-1, 2**40, "x"):
        problem(api.post("/policies/roll-back", {"number": number, "reason": "No."}), 422, "invalid")


def test_scopes_and_roles(org: Org, api_for: Api) -> None:
    """Reading wants policies:read, writing policies:write and the role; neither opens the other."""
    body = {"files": bundle(), "reason": "No."}
    problem(api_for(org.yasmine, WRITE).get("/policies"), 403, "insufficient_scope")
    for path in ("/policies/publish", "/policies/preview", "/policies/roll-back"):
        problem(api_for(org.yasmine, READ).post(path, body), 403, "insufficient_scope")
    for person in (org.dana, org.pat, org.aud, org.cy):
        problem(api_for(person, WRITE).post("/policies/publish", body), 403, "forbidden")
        problem(api_for(person, WRITE).post("/policies/preview", {"files": bundle()}), 403, "forbidden")
        problem(api_for(person, WRITE).post("/policies/roll-back", {"number": 0, "reason": "No."}), 403, "forbidden")
    assert not Publication.objects.exists() and not Preview.objects.exists()


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        "x",
        {},
        {"rules/x.yaml": 7},
        {"rules/x.yaml": None},
        {"../x.yaml": "id: x\n"},
        {"rules/x.yaml": "a: &a [x]\nb: [*a, *a]\n"},
        {f"rules/r{n}.yaml": "x" for n in range(301)},
    ],
)
def test_hostile_files(org: Org, api_for: Api, files: Any) -> None:
    """422 with the field; nothing is kept."""
    api = api_for(org.yasmine, WRITE)
    for path, body in (
        ("/policies/publish", {"files": files, "reason": "No."}),
        ("/policies/preview", {"files": files}),
    ):
        assert problem(api.post(path, body), 422, "invalid")["errors"]
    assert not Publication.objects.exists() and not Preview.objects.exists()


def test_ten_megabytes(org: Org, api_for: Api) -> None:
    """The body is not read."""
    response = api_for(org.yasmine, WRITE).post("/policies/publish", {"files": {"rules/x.yaml": "#" * 10_000_000}})
    problem(response, 413, "too_large")


def test_nul_is_refused(org: Org, api_for: Api) -> None:
    """As everywhere in the API."""
    body = {"files": bundle(), "reason": "a\0b"}
    problem(api_for(org.yasmine, WRITE).post("/policies/publish", body), 422, "invalid")


def test_a_publication_is_repeated_safely(org: Org, api_for: Api) -> None:
    """The same Idempotency-Key publishes once."""
    api = api_for(org.yasmine, WRITE)
    body = {"files": bundle(rule(days=30)), "reason": "Once."}
    first, again = (api.post("/policies/publish", body, Idempotency_Key="one") for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.content == again.content
    assert Publication.objects.count() == 1 == IdempotentAnswer.objects.count()
