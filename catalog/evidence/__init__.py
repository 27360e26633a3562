"""Evidence: each kind is collected by one module here, a driver as catalog/evidence/case.py describes it.

Checks that only look at the specification are made at once, in the transaction that changes it. Those that read the
content, or ask somebody else, are jobs for a worker: catalog/collecting.py.
"""

from collections.abc import Iterable, Mapping

from catalog.evidence import card, files, fit, licence, ml_bom, performance, pin, signature, tools, upstream
from catalog.evidence.case import Case, Driver
from catalog.models import Version

DRIVERS: Mapping[str, Driver] = {
    driver.KIND: driver for driver in (licence, card, pin, signature, files, fit, ml_bom, upstream, performance, tools)
}
TITLES: Mapping[str, str] = {kind: driver.TITLE for kind, driver in DRIVERS.items()}


def drivers(version: Version, *, content: bool) -> Iterable[Driver]:
    """Return the checks that apply to `version`: those that a worker runs, since they read its content or ask
    somebody else, or those that are made at once.
    """
    return [driver for driver in DRIVERS.values() if content == by_worker(driver) and driver.applies(version)]


def by_worker(driver: Driver) -> bool:
    """Whether a worker runs the check: it reads content, or it asks somebody else and therefore waits for no pin."""
    return driver.CONTENT or asks(driver)


def asks(driver: Driver) -> bool:
    """Whether the check asks somebody else (WORKER), which is no matter of what is pinned."""
    return bool(getattr(driver, "WORKER", False))


__all__ = ["DRIVERS", "TITLES", "Case", "Driver", "asks", "by_worker", "drivers"]
