"""Invalidations between processes, published on commit. Losing one costs a second: readers also poll the epoch in
the database.
"""

import logging
from functools import lru_cache

import redis
from django.conf import settings
from django.db import transaction

CHANNEL = "gatehouse:invalidate"

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _client() -> redis.Redis | None:
    if not settings.REDIS_CLIENT_URL:
        return None
    return redis.Redis.from_url(settings.REDIS_CLIENT_URL, socket_timeout=1, socket_connect_timeout=1)


def publish(topic: str) -> None:
    """Tell every listener, after the current transaction commits, that what `topic` names has changed.

    Never raises: the bus is a shortcut, the database is the truth.
    """

    def send() -> None:
        client = _client()
        if client is None:
            return
        try:
            client.publish(CHANNEL, topic)
        except redis.RedisError as error:
            log.warning("bus.publish_failed topic=%s error=%s", topic, error)

    transaction.on_commit(send)
