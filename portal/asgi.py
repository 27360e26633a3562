"""One ASGI application: `/v1/*` goes to the gateway before Django, the rest to the pages. `gateway` alone is the
data path process.
"""

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Any], Awaitable[None]]
pages = get_asgi_application()

from endpoints.gateways.builtin import app as data_path  # noqa: E402
from portal import warm  # noqa: E402

gateway = data_path.gateway
# What is there by now stays: the collector need not walk through half a million objects of code again and again, which
# is a pause of 60 ms in the middle of some call. The server of the pages does it once more (portal/warm.py).
gc.collect()
gc.freeze()


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Route by path; run the gateway's start-up and shutdown in the server's lifespan."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
        await data_path.gateway(scope, receive, send)
    elif scope["type"] == "http":
        await pages(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await data_path.gateway_startup()
            warm.up()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await data_path.gateway_shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return
