"""One furnished organisation for the whole-portal tests: an object of every kind, made through the services."""

from dataclasses import dataclass
from typing import Any

from catalog.models import HardwareProfile, Version
from endpoints import services as endpoint_services
from endpoints.models import Cluster, Endpoint, Phase
from portal.states import move
from projects.models import ApiKey
from projects.principal import Principal
from quotas.models import Pool
from tests.conftest import Org
from tests.factories import make_cluster, make_endpoint, make_pool, make_profile, make_request, make_version

# The columns of both matrices, in this order. None is nobody: no session, no token.
PERSONAS = (None, "cy", "vic", "dana", "omar", "pat", "yasmine", "aud")


@dataclass(frozen=True)
class World:
    """Objects of fraud-detection: dana asked for them, pat approved. cy of search-ranking is the stranger."""

    org: Org
    version: Version
    profile: HardwareProfile
    pool: Pool
    cluster: Cluster
    running: Endpoint
    suspended: Endpoint
    failed: Endpoint
    key: ApiKey
    secret: str
    submitted: Any
    draft: Any


def furnish(org: Org) -> World:
    """Make an object of every kind in fraud-detection."""
    version, profile, gpu = make_version(), make_profile(slug="cpu-demo"), make_profile(gpus=1, slug="gpu-small")
    pool = make_pool(slug="shared", profiles=[gpu])
    running, suspended, failed = (
        make_endpoint(org.dana, version=version, profile=profile, name=name)
        for name in ("running", "suspended", "failed")
    )
    suspended = endpoint_services.suspend(Principal.of(org.dana), suspended)
    move(Endpoint.objects.filter(pk=failed.pk), Phase.PENDING, Phase.FAILED, field="phase")
    failed.refresh_from_db()
    key, secret = endpoint_services.issue_key(
        Principal.of(org.dana), org.fraud, "scoring", [], ["inference:invoke", "endpoints:read"], 30
    )
    return World(
        org=org,
        version=version,
        profile=profile,
        pool=pool,
        cluster=make_cluster(),
        running=running,
        suspended=suspended,
        failed=failed,
        key=key,
        secret=secret,
        submitted=make_request(org.dana, version=version, profile=profile, name="submitted"),
        draft=make_request(org.dana, state="draft", version=version, profile=profile, name="draft"),
    )
