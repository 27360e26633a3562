"""A server that is let in before anybody asked it: its tools are the publisher's word, and that is said."""

from catalog import collecting
from catalog.evidence import Driver, tools
from catalog.models import Version
from projects.principal import Principal


def describe(by: Principal, version: Version) -> None:
    """Keep the finding that the server was not asked, unless there is one already. Call it in a transaction.

    Nothing is pinned by it: whoever asks for its tools is told so.
    """
    driver: Driver = tools
    if driver.applies(version) and not version.evidence.filter(kind=driver.KIND).exists():
        sentence = tools.NOT_ASKED if tools.address(version) else ""
        collecting.keep(by, version, [(driver, tools.described(version, sentence))])
