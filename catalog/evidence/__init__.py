"""Evidence that the portal collects by itself, each kind computed by one small module. Nothing here reaches the
network.
"""

from collections.abc import Callable, Mapping

from catalog.evidence import card, licence, pin
from catalog.evidence.finding import Finding
from catalog.models import Version

CHECKS: Mapping[str, Callable[[Version], Finding]] = {"licence": licence.check, "card": card.check, "pin": pin.check}
TITLES: Mapping[str, str] = {"licence": "Licence", "card": "Card", "pin": "Pin"}


def findings(version: Version) -> list[Finding]:
    """Return what every check says about `version` now; pure, reads only the row and its asset."""
    return [check(version) for check in CHECKS.values()]
