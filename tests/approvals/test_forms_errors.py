"""What is wrong stands at its field and in a summary, and everything that was typed stays."""

import pytest

from approvals.models import Request
from tests.approvals.form_kit import HTMX, WHY, Clients, filled, scene, text_of
from tests.conftest import Org

pytestmark = pytest.mark.slow

BAD = [
    ("revision", "endpoint", "nonsense", "36 characters"),
    ("revision", "endpoint", "", "Endpoint is missing"),
    ("revision", "version", "9.9", "is not in the catalog"),
    ("revision", "asset", "nothing", "is not in the catalog"),
    ("revision", "hardware_profile", "none", "does not exist"),
    ("revision", "replicas", "0", "Replicas is"),
    ("revision", "concurrency", "x", "Parallel calls is"),
    ("revision", "context_tokens", "99999999999", "Context tokens is"),
    ("revision", "purpose", "", "Purpose is missing"),
    ("renewal", "endpoint", "00000000-0000-4000-8000-000000000000", "is not one for which you may send requests"),
    ("renewal", "ends_on", "2020-01-01", "after today"),
    ("renewal", "ends_on", "tomorrow", "YYYY-MM-DD"),
    ("renewal", "ends_on", "", "Runs until is missing"),
    ("renewal", "purpose", "x" * 2001, "limit is 2,000"),
    ("access", "project", "search-ranking", "is not one in which you may send requests"),
    ("access", "endpoint", "00000000-0000-4000-8000-000000000000", "not one that is offered"),
    ("access", "data_classification", "secret", "choose one of"),
    ("access", "data_classification", "restricted", "more sensitive"),
    ("access", "ends_on", "2020-01-01", "after today"),
    ("access", "purpose", "\x00", "control character"),
    ("quota", "project", "nowhere", "is not one in which you may send requests"),
    ("quota", "limit", "tokens|project||day", "there is nothing to raise"),
    ("quota", "limit", "", "Quota is missing"),
    ("quota", "limit", "moon", "choose one of"),
    ("quota", "hard", "2", "count already"),
    ("quota", "hard", "", "Refuses above is missing"),
    ("quota", "hard", "9" * 30, "Refuses above is"),
    ("quota", "ends_on", "", "Until is missing"),
    ("quota", "purpose", "", "Purpose is missing"),
]


@pytest.mark.parametrize(("kind", "field", "wrong", "words"), BAD, ids=lambda item: str(item)[:24])
def test_errors_stand_at_their_field(
    org: Org, client_for: Clients, kind: str, field: str, wrong: str, words: str
) -> None:
    """422 with everything that was typed, a summary that takes the focus, and the field marked; nothing is made."""
    address, typed = scene(org, kind)
    client = client_for(org.dana)
    before = Request.objects.count()
    data = filled(client, kind, address) | typed | {field: wrong}
    answer = client.post(f"/requests/new/?kind={kind}", data | {"action": "send"})
    html = answer.content.decode()
    assert answer.status_code == 422 and words in html, text_of(answer)[-3000:]
    assert "data-focus" in html and f'href="#id_{field}"' in html and 'aria-invalid="true"' in html
    assert Request.objects.count() == before
    if field != "purpose":
        assert WHY in html
    assert client.post(f"/requests/new/?kind={kind}", data, headers=HTMX).status_code == 200


def test_the_same_thing_twice_is_said_above_the_form(org: Org, client_for: Clients) -> None:
    """A refusal that belongs to no field takes the focus, and what was typed stays."""
    address, typed = scene(org, "renewal")
    client = client_for(org.dana)
    data = filled(client, "renewal", address) | typed
    client.post("/requests/new/?kind=renewal", data | {"action": "send", "form": ""})
    answer = client.post("/requests/new/?kind=renewal", data | {"action": "send", "form": ""})
    html = answer.content.decode()
    assert answer.status_code == 422 and "asks for the renewal of scoring already" in text_of(answer)
    assert "data-focus" in html and WHY in html
