"""Listening to the bus: a shortcut that lets a change reach the gateway in milliseconds.

Without it, polling does the same in a second.
"""

import asyncio
import logging
from collections.abc import Callable

import redis.asyncio
from redis.exceptions import RedisError

from portal.bus import CHANNEL

RETRY_SECONDS = (0.5, 1, 2, 5, 10)

log = logging.getLogger(__name__)


async def listen(url: str, changed: Callable[[], None]) -> None:
    """Call `changed` for every message on the bus at `url`, for ever; reconnects with growing pauses, and calls it
    after each reconnection.
    """
    failures = 0
    while True:
        client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=2, health_check_interval=15)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                failures = 0
                changed()  # whatever was said while nobody listened
                while True:
                    if await channel.get_message(timeout=30) is not None:
                        changed()
        except (RedisError, OSError) as error:
            if failures == 0:
                log.warning("gateway.bus_away error=%s", type(error).__name__)
        finally:
            await client.aclose()
        await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
        failures += 1
