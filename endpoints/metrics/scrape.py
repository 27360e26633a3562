"""Reads the counters of every engine that answers calls, all at once. A failed scrape is written down and fails
nothing else.

Counters begin at zero with each life of an engine, so each life has its own row, and the endpoint's count is the sum
of its rows. What an engine counted between its last scrape and its end is lost; the gateway's ledger is the one that
bills.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import aiohttp
from django.utils import timezone

from endpoints.metrics.adapters import Counts, counts
from endpoints.models import Desired, Endpoint, EngineCount, Phase
from portal import crypto

TIMEOUT_SECONDS = 3.0
PARALLEL = 32
MAX_BYTES = 4 * 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """One engine: the endpoint it serves, the identity of its life, where it listens."""

    endpoint_id: UUID
    instance: str
    url: str
    key: str


def scrape() -> int:
    """Read all engines and store what they say; returns how many answered."""
    targets = _targets()
    if not targets:
        return 0
    answers = asyncio.run(_fetch_all(targets))
    for target, (found, error) in zip(targets, answers, strict=True):
        _store(target, found, error)
    return sum(found is not None for found, _ in answers)


def _targets() -> list[Target]:
    rows = Endpoint.objects.filter(phase__in=[Phase.READY, Phase.DEGRADED], desired=Desired.RUNNING)
    targets = []
    for endpoint_id, upstreams in rows.order_by("pk").values_list("pk", "upstreams"):
        for entry in upstreams:
            try:
                key = crypto.decrypt(entry["key"])
            except ValueError:
                key = ""  # /metrics is open on most engines; where it is not, the answer says so
            targets.append(Target(endpoint_id, entry.get("instance", entry["url"])[:80], entry["url"], key))
    return targets


async def _fetch_all(targets: Sequence[Target]) -> list[tuple[Counts | None, str]]:
    gate = asyncio.Semaphore(PARALLEL)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    # trust_env stays off: engines are reached directly, and a proxy must never see their keys.
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=True) as session:
        return await asyncio.gather(*(_fetch(session, gate, target) for target in targets))


async def _fetch(session: aiohttp.ClientSession, gate: asyncio.Semaphore, target: Target) -> tuple[Counts | None, str]:
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    try:
        async with gate, session.get(f"{target.url}/metrics", headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                return None, f"The engine answered {response.status} to /metrics."
            page = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                page += chunk
                if len(page) > MAX_BYTES:
                    return None, f"The page of numbers is larger than {MAX_BYTES:,} bytes."
            return counts(page.decode("utf-8", "replace")), ""
    except TimeoutError:
        return None, f"The engine did not answer /metrics within {TIMEOUT_SECONDS:.0f} s."
    except (aiohttp.ClientError, OSError, ValueError, OverflowError) as error:
        return None, f"{type(error).__name__}: {error}"[:200]


def _store(target: Target, found: Counts | None, error: str) -> None:
    values: dict[str, Any] = {"at": timezone.now(), "error": ""} | asdict(found) if found else {"error": error[:200]}
    created = values | {"at": timezone.now()}
    if error:
        log.warning(
            "endpoints.scrape_failed endpoint=%s instance=%s error=%s", target.endpoint_id, target.instance, error
        )
    EngineCount.objects.update_or_create(
        endpoint_id=target.endpoint_id, instance=target.instance, defaults=values, create_defaults=created
    )
