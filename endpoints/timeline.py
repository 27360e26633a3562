"""The timeline of an endpoint: events beside the audit rows, in words for its people."""

from endpoints.models import Endpoint, Event


def note(endpoint: Endpoint, code: str, sentence: str) -> None:
    """Write an event; `code` is its machine word, `sentence` (cut at 500 characters) says who did what."""
    Event.objects.create(endpoint=endpoint, code=code, phase=endpoint.phase, sentence=sentence[:500])
