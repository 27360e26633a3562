"""A commit of one endpoint in a repository with 2,000, by file, SSH and HTTPS: from the workload to the remote's yes.

The servers are real: `git http-backend` behind TLS, `sshd` where it is installed. Each commit changes the number of
replicas of one endpoint; the copy is there, as it is on every worker after its first minute.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from django.conf import settings

from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from endpoints.clusters import Place, Workload
from endpoints.clusters.gitops import layout, sealing
from endpoints.clusters.gitops.snapshot import blob_id
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import manifests, owned
from portal import crypto
from tests.cluster.certificates import Authority
from tests.endpoints.git_kit import SSHD, Remote, git, http_server, ssh_server
from tests.endpoints.kubernetes_kit import place, workload

ENDPOINTS, TRIES, PROJECTS = 2_000, 15, 20
SLUG = "bench"
NOTE = "gitops: reference = the target; real servers on this machine; median and slowest of the tries, one worker"


def measure(store: str) -> list[Result]:
    """Fill a repository and measure by each kind of remote; no database takes part."""
    with tempfile.TemporaryDirectory(prefix="gitops-") as folder, ExitStack() as stack:
        where = Path(folder)
        settings.GIT_DIRECTORIES = [str(where)]
        remote = Remote(where)
        fleet = _filled(remote, scaled(ENDPOINTS))
        results: list[Result] = []
        for turn, (name, one) in enumerate(_places(where, remote, stack)):
            results += _measured(name, one, fleet, 2 + turn * TRIES)
        return results


def _places(where: Path, remote: Remote, stack: ExitStack) -> Iterator[tuple[str, Place]]:
    yield "file", place(slug=SLUG, state_dir=where / "file", repository=remote.url)
    authority = Authority(where / "ca")
    server = stack.enter_context(http_server(remote.path.parent, "token", authority))
    ca = authority.certificate.read_text(encoding="ascii")
    yield (
        "https",
        place(
            slug=SLUG, state_dir=where / "https", repository=server.url(), repository_secret="token", repository_ca=ca
        ),
    )
    if SSHD is None:
        print("  ssh is not measured: no sshd is installed", file=sys.stderr, flush=True)
        return
    shell = stack.enter_context(ssh_server(where / "sshd"))
    yield "ssh", place(
        slug=SLUG, state_dir=where / "ssh", repository=shell.url(remote.path), repository_secret=shell.key,
        known_hosts=shell.known_hosts,
    )  # fmt: skip


def _measured(name: str, where: Place, fleet: list[Workload], least: int) -> list[Result]:
    source = Writer(where)
    begun = time.monotonic()
    source.stand(fleet[0].endpoint_id)
    first, took, same, cpu = time.monotonic() - begun, list[float](), list[float](), list[float]()
    for number in range(repeated(TRIES)):
        wanted = replace(fleet[number * 7 % len(fleet)], replicas=least + number)
        begun, used = time.monotonic(), _processor()
        made = manifests.objects(where, wanted, "key")
        if not source.write(wanted, made):
            raise RuntimeError("nothing was committed")
        took.append(time.monotonic() - begun)
        cpu.append(_processor() - used)
        begun = time.monotonic()
        if source.write(wanted, made):
            raise RuntimeError("the same was committed twice")
        same.append(time.monotonic() - begun)
    many = f"{len(fleet):,} endpoints, {name}"
    return [
        Result(f"commit of one endpoint among {many}", "s", 1, statistics.median(took), NOTE),
        Result(f"the same, processor time of worker and git, {name}", "s", 1, statistics.median(cpu), NOTE),
        Result(f"the slowest of them, {name}", "s", 1, max(took), NOTE),
        Result(f"finding that nothing is to commit, {name}", "s", 1, statistics.median(same), NOTE),
        Result(f"the first copy, {name}", "s", 60, first, NOTE),
    ]


def _processor() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _filled(remote: Remote, amount: int) -> list[Workload]:
    """Commit all endpoints at once, as the portal would have one by one, and return them."""
    where = place(slug=SLUG, repository=remote.url)
    fleet = [
        workload(
            name=f"model-{number}", project=f"project-{number % PROJECTS}", endpoint_id=str(UUID(int=number << 76))
        )
        for number in range(amount)
    ]
    files: dict[str, bytes] = {}
    template = manifests.objects(where, fleet[0], "key")
    plain = layout.own(template, 1)
    names: dict[str, set[str]] = {}
    for one in fleet:
        folder = layout.folder(where, one)
        own = {name: _of(text, fleet[0], one) for name, text in plain.items()}
        files |= _sealed(where, folder, own, [*own], one)
        space, _, last = folder.rpartition("/")
        names.setdefault(space, set()).add(last)
        names.setdefault(space.rpartition("/")[0], set()).add(space.rpartition("/")[2])
        names.setdefault(layout.root(where), set()).add(one.project)
    for one in fleet[:PROJECTS]:
        space = layout.folder(where, one).rpartition("/")[0]
        shared = layout.shared(manifests.objects(where, one, "key"))
        names[space] |= set(shared)
        files |= _sealed(where, space, shared, [], None)
    files |= {f"{folder}/{layout.LIST}": layout.listing(sorted(found)) for folder, found in names.items()}
    parts = [
        b"commit refs/heads/main\ncommitter A <a@example.com> 1700000000 +0000\ndata 4\nfill\nfrom refs/heads/main^0\n"
    ]
    for path, text in files.items():
        parts += [f"M 100644 inline {path}\ndata {len(text)}\n".encode(), text, b"\n"]
    git(remote.path, "fast-import", "--quiet", data=b"".join(parts))
    git(remote.path, "gc", "--quiet")
    return fleet


def _of(text: bytes, template: Workload, one: Workload) -> bytes:
    """Return the file of one endpoint from that of another."""
    for old, new in (
        (template.endpoint_id, one.endpoint_id), (owned.stem(template.endpoint_id), owned.stem(one.endpoint_id)),
        (template.project, one.project), (template.name, one.name),
    ):  # fmt: skip
        text = text.replace(old.encode(), new.encode())
    return text


def _sealed(
    where: Place, folder: str, own: dict[str, bytes], listed: list[str], one: Workload | None
) -> dict[str, bytes]:
    files = own | ({layout.LIST: layout.listing(listed)} if listed else {})
    ids = {name: blob_id(text) for name, text in files.items()}
    sealed = sealing.Sealed(folder, owned.installation(where.settings), ids)
    if one is not None:
        sealed = replace(
            sealed, endpoint=one.endpoint_id, project=one.project, environment=one.environment_name, wants={1: 1},
            approvals={1: (one.approval, one.authorization_digest)},
        )  # fmt: skip
    key = crypto.derived(f"seal of what is written to Git for {SLUG}")[0]
    return {f"{folder}/{name}": text for name, text in (files | {layout.SEAL: sealing.written(sealed, key)}).items()}
