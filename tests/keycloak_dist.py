"""Where the tests' Keycloak comes from: a Java that runs it, its distribution, and a copy of that outside the tree."""

import fcntl
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

JAVA = 17  # the oldest that Keycloak 26 starts on
COORDINATES = "org.keycloak:keycloak-quarkus-dist:26.7.3:zip"  # CI fetches it with Maven, as .ci/run shows
BUILT = ".gatehouse-built"  # stands in an unpacked copy once its first start is through


def cache(owner: str, otherwise: Path) -> Path:
    """The directory of `owner` in the cache of this machine, outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or otherwise) / owner / "keycloak"


def _version(java: Path) -> int:
    """Major version of one Java; 0 when it does not run or is so old that it says 1.x."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found.group(1)) if found else 0


def find_java() -> Path | None:
    """The first Java on this machine that is new enough: JAVA_HOME, then the path, then what is installed."""
    named = [Path(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []
    on_path = [Path(found)] if (found := shutil.which("java")) else []
    installed = sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    return next((java for java in [*named, *on_path, *installed] if java.exists() and _version(java) >= JAVA), None)


def _newest(paths: list[Path]) -> Path | None:
    return max(paths, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)], default=None)


def find_distribution() -> Path | None:
    """The distribution as a zip or an unpacked directory: what GATEHOUSE_TEST_KEYCLOAK names, or the newest cached."""
    if named := os.environ.get("GATEHOUSE_TEST_KEYCLOAK"):
        return Path(named) if Path(named).exists() else None
    places = [cache("gatehouse", Path.home() / ".cache"), cache("gatehouse-ci", Path("/var/cache"))]
    return _newest([zipped for place in places for zipped in place.glob("keycloak-quarkus-dist-26.*.zip")])


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time; the lock leaves with the process, however that ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack(source: Path, target: Path) -> None:
    """Put a fresh copy of the distribution at `target`; what stood there before is dropped."""
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        # A copy, because the first start rebuilds the server for development: the one that was named stays as it is.
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("data"))
        return
    aside = target.with_name(f"{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    with zipfile.ZipFile(source) as archive:
        archive.extractall(aside)
    (top,) = aside.iterdir()
    top.rename(target)
    aside.rmdir()


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The unpacked copy of `source` in the cache.

    Before its first start this process has it for itself until the block ends, since that start writes into it. A start
    that fails leaves no mark, and the next one unpacks anew.
    """
    base = cache("gatehouse", Path.home() / ".cache")
    base.mkdir(parents=True, exist_ok=True)
    target = base / f"{source.name.removesuffix('.zip')}-unpacked"
    with _lock(base / "lock"):
        first = not (target / BUILT).exists()
        if first:
            _unpack(source, target)
            yield target
            (target / BUILT).touch()
    if not first:
        yield target


def home(distribution: Path, at: Path) -> Path:
    """Make `at` a Keycloak home with data of its own that borrows everything else from the unpacked distribution.

    The start script and its options know no other way to move the data directory: it is `data` beside `bin`, and the
    script resolves links to itself, so the script is copied and the rest is linked.
    """
    (at / "bin").mkdir(parents=True)
    (at / "data" / "import").mkdir(parents=True)
    shutil.copy(distribution / "bin" / "kc.sh", at / "bin" / "kc.sh")
    for name in ("lib", "providers", "themes", "conf", "version.txt"):
        (at / name).symlink_to(distribution / name)
    return at


def needed() -> tuple[Path, Path]:
    """Java and distribution; skips the test with one sentence when this machine lacks one of them."""
    java, distribution = find_java(), find_distribution()
    if java is None:
        pytest.skip(f"no Java {JAVA} or newer on this machine; install one or set JAVA_HOME")
    if distribution is None:
        place = os.environ.get("GATEHOUSE_TEST_KEYCLOAK") or cache("gatehouse", Path.home() / ".cache")
        pytest.skip(f"no Keycloak at {place}; put the zip of {COORDINATES} there or set GATEHOUSE_TEST_KEYCLOAK")
    return java, distribution
