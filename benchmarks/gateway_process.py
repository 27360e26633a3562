"""The gateway under test, in a process of its own: `python -m benchmarks.gateway_process PORT ENGINE_URL FOLDER`.

It is the whole data path (key, body, journal, relay, metering) under uvicorn. Only the source of keys and endpoints
stands
in memory: on the hot path the database is not asked.
"""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import django
import uvicorn
import uvloop
from django.utils import timezone

django.setup()

from benchmarks.load import SECRET  # noqa: E402
from endpoints.gateways.builtin.app import Gateway  # noqa: E402
from endpoints.gateways.builtin.directory import Directory  # noqa: E402
from endpoints.gateways.builtin.records import EndpointRecord, KeyRecord  # noqa: E402
from endpoints.gateways.builtin.source import Quotas  # noqa: E402
from endpoints.gateways.builtin.upstream import Pool, Upstream  # noqa: E402
from quotas.bounds import Bound  # noqa: E402
from quotas.journal import Journal  # noqa: E402
from quotas.rollups import floor  # noqa: E402
from quotas.spent import Spent  # noqa: E402


class OneKey:
    """A source with one key and one endpoint."""

    def __init__(self, engine: str) -> None:
        """`engine` is the URL behind the endpoint."""
        self._key = KeyRecord(
            "1",
            "gth_benchkey",
            "",
            time.time() + 3600,
            1,
            "bench",
            "bench",
            "api",
            frozenset({"inference:invoke"}),
            None,
        )
        self._endpoint = EndpointRecord(
            id="1",
            name="bench",
            project="bench",
            served_name="m",
            phase="ready",
            running=True,
            reason="",
            created=0,
            context_tokens=None,
            upstreams=(Upstream.parse(engine, "k"),),
        )

    def epoch(self) -> int:
        """Always the same."""
        return 1

    def key(self, digest: str) -> tuple[int, KeyRecord | None]:
        """The one key."""
        return 1, self._key if digest == hashlib.sha256(SECRET.encode()).hexdigest() else None

    def endpoints(self, project_id: int) -> tuple[int, dict[str, EndpointRecord]]:
        """The one endpoint."""
        return 1, {"bench": self._endpoint}

    def quotas(self, project_id: int) -> tuple[int, Quotas]:
        """One quota that nobody reaches when BENCH_QUOTA is set, else none."""
        bound = Bound(1, project_id, "bench", "tokens", "project", "", "day", None, 10**15)
        return 1, {bound.target: (bound,)} if os.environ.get("BENCH_QUOTA") else {}

    def spent(self, wanted: Sequence[Bound], journals: Sequence[str]) -> Spent:
        """Nothing yet, and nothing of any journal."""
        now = timezone.now()
        return Spent(floor(now, "day"), floor(now, "month"), frozenset(bound.target for bound in wanted), {}, {})


def serve(port: int, engine: str, folder: Path) -> None:
    """Run the gateway process."""

    async def main() -> None:
        directory = Directory(OneKey(engine), grace_seconds=60)
        gateway = Gateway(directory, Pool(patience=60), Journal(folder / "journal"), stall_seconds=60)
        await gateway.start()
        config = uvicorn.Config(
            gateway,
            host="127.0.0.1",
            port=port,
            http="httptools",
            lifespan="off",
            log_level="warning",
            access_log=False,
        )
        await uvicorn.Server(config).serve()
        await gateway.stop()

    uvloop.run(main())


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
