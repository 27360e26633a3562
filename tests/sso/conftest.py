"""One Keycloak for all the tests that need it."""

from collections.abc import Iterator

import pytest

from tests.keycloak_kit import Keycloak


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """A real Keycloak with the realm of deploy/keycloak; skips where Java or the distribution is missing."""
    with Keycloak() as server:
        yield server
