"""Two callers at once: no endpoint is opened on a cluster that somebody removes at the same moment."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from endpoints import services
from endpoints.fleet import registering
from endpoints.models import Cluster, Endpoint
from portal.errors import Conflict
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import make_place, make_profile, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def together(*calls: Callable[[], Any]) -> list[str]:
    """What each call said that began at the same moment as the others."""
    said, start = [""] * len(calls), threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            start.wait(30)
            call()
            said[index] = "done"
        except Conflict as error:
            said[index] = error.code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return said


def test_either_the_endpoint_is_opened_or_the_cluster_is_removed(org: Org) -> None:
    pat, version, profile = Principal.of(org.pat), make_version(), make_profile(slug="cpu-demo")
    seen = set()
    for number in range(8):
        cluster = make_place(org.pat, slug=f"place-{number}")

        def opened(cluster: Cluster = cluster, name: str = f"one-{number}") -> None:
            with transaction.atomic():
                services.open_endpoint(
                    pat, project=org.fraud, name=name, environment="prod", cluster=cluster, version=version,
                    profile=profile, replicas=1, concurrency=1, context_tokens=512,
                    authorization=services.Authorization("R-1", "sha256:x"),
                )  # fmt: skip

        said = together(opened, partial(registering.remove, pat, cluster))
        assert said in (["done", "cluster_in_use"], ["cluster_removed", "done"]), said
        lives = Endpoint.objects.filter(name=f"one-{number}").exists()
        assert lives == Cluster.objects.filter(pk=cluster.pk).exists() == (said[0] == "done")
        seen.add(said[0])
    assert seen <= {"done", "cluster_removed"}


def test_one_name_is_registered_once(org: Org) -> None:
    for number in range(4):
        said = together(*[partial(make_place, org.pat, slug=f"same-{number}")] * 2)
        assert sorted(said) == ["done", "name_taken"], said
    assert Cluster.objects.count() == 4


def test_it_is_removed_once_and_rotated_never_after(org: Org) -> None:
    pat, cluster = Principal.of(org.pat), make_place(org.pat)
    access = {"authentication": "token", "server": "https://10.0.0.9:6443", "token": "next"}
    said = together(
        lambda: registering.remove(pat, cluster),
        lambda: registering.remove(pat, cluster),
        lambda: registering.rotate(pat, cluster, access=access),
    )
    assert sorted(said[:2]) == ["cluster_removed", "done"] and said[2] in {"done", "cluster_removed"}
    assert not Cluster.known.exists()
