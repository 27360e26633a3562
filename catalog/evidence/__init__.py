"""Evidence: each kind is collected by one module here, a driver as catalog/evidence/case.py describes it.

Checks that only look at the specification are made at once, in the transaction that changes it. Those that read the
content, or ask somebody else, are jobs for a worker: catalog/collecting.py.
"""

from collections.abc import Iterable, Mapping

from catalog.evidence import card, licence, pin
from catalog.evidence.case import Case, Driver
from catalog.models import Version

DRIVERS: Mapping[str, Driver] = {driver.KIND: driver for driver in (licence, card, pin)}
TITLES: Mapping[str, str] = {kind: driver.TITLE for kind, driver in DRIVERS.items()}


def drivers(version: Version, *, content: bool) -> Iterable[Driver]:
    """Return the checks that apply to `version`: those that read its content, or those that do not."""
    return [driver for driver in DRIVERS.values() if content == driver.CONTENT and driver.applies(version)]


__all__ = ["DRIVERS", "TITLES", "Case", "Driver", "drivers"]
