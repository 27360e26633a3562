"""Counting what somebody does within a window of time, in the cache that all processes share."""

from django.core.cache import cache
from django.utils import timezone


def spend(name: str, most: int, seconds: int) -> int:
    """Count one more under `name` in the current window of so many `seconds`; return 0, or after `most` of them how
    many seconds are left to wait.
    """
    counter, left = _window(name, seconds)
    cache.add(counter, 0, 2 * seconds)
    return left if cache.incr(counter) > most else 0


def spent(name: str, seconds: int) -> int:
    """Return how much was counted under `name` in the current window."""
    return int(cache.get(_window(name, seconds)[0], 0))


def _window(name: str, seconds: int) -> tuple[str, int]:
    """Return the counter of the current window, and how many seconds of it are left."""
    window, since = divmod(int(timezone.now().timestamp()), seconds)
    return f"rate:{name}:{window}", seconds - since
