"""What a server of pages does before its first answer: by asgi, and by wsgi."""

import asyncio
import gc
import importlib
from typing import Any

import pytest
from django.conf import settings
from django.template.loader import get_template
from django.template.loaders import cached
from django.urls import clear_url_caches, get_resolver

from endpoints.gateways.builtin import app
from portal import asgi, warm, wsgi


@pytest.fixture(autouse=True)
def thawed() -> Any:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_every_template_is_compiled_and_nothing_of_it_is_walked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_url_caches()
    mine = list((settings.BASE_DIR / "templates").rglob("*.html"))
    assert warm.up() == len(mine) > 200
    assert gc.get_freeze_count() > 100_000
    assert get_resolver()._populated  # type: ignore[attr-defined] # of Django itself: the stubs hide it

    def read(*_: Any) -> None:
        raise AssertionError("a template is read that should be there")

    monkeypatch.setattr(cached.Loader, "get_template_sources", read)
    for name in ("base.html", "approvals/queue.html", "approvals/queue.html#results", "catalog/list.html"):
        get_template(name)


def test_the_server_warms_up_before_it_says_that_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def started() -> None:
        said.append("gateway")

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if said[-1:] == ["lifespan.startup.complete"] else "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    monkeypatch.setattr(app, "gateway_startup", started)
    monkeypatch.setattr(app, "gateway_shutdown", started)
    monkeypatch.setattr(warm, "up", lambda: said.append("warm"))
    asyncio.run(asgi.application({"type": "lifespan"}, receive, send))
    assert said == ["gateway", "warm", "lifespan.startup.complete", "gateway", "lifespan.shutdown.complete"]


def test_the_processes_of_production_warm_up_when_they_load(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(warm, "up", lambda: said.append("warm"))
    importlib.reload(wsgi)
    assert said == ["warm"]
