"""`manage.py load_demo`: the demo organisation of the embedded stack. Idempotent; prints the sign-ins when it made
them.
"""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from audit.models import Row
from audit.services import system
from catalog.models import HardwareProfile
from endpoints.fleet.registering import create_cluster
from endpoints.models import Cluster
from portal.crypto import random_text
from portal.management import history
from portal.people import DEMO_PEOPLE
from projects import services
from projects.models import Project, User
from projects.people import create_person
from projects.principal import Principal
from quotas.gpus import taken
from quotas.grants import set_quotas
from quotas.models import Pool
from quotas.pools import create_pool

PROJECTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "fraud-detection": (
        {
            "name": "Fraud detection",
            "description": "Scores card payments for the fraud desk.",
            "cost_centre": "CC-4711",
            "owner_team": "Payments risk",
        },
        {"omar": "owner", "dana": "developer"},
    ),
    "search-ranking": (
        {
            "name": "Search ranking",
            "description": "Ranks answers in the help centre.",
            "cost_centre": "CC-0815",
            "owner_team": "Digital channels",
        },
        {"omar": "owner"},
    ),
}
GPUS = {"fraud-detection": 6, "search-ranking": 4}
TOKENS = [
    {"target": "project", "window": "day", "soft": 2_000_000, "hard": 5_000_000},
    {"target": "project", "window": "month", "soft": 20_000_000, "hard": 40_000_000},
]


class Command(BaseCommand):
    """Load the demo organisation."""

    help = "Load demo people, projects, catalog, cluster and pool (embedded stack only)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Load what is missing."""
        if not settings.DEMO:
            raise CommandError("The demo organisation is only loaded with GATEHOUSE_DEMO=1 in the embedded stack.")
        with transaction.atomic():
            printed = self._people()
            engineer = Principal.of(User.objects.get(username="pat"), via="command")
            self._projects(engineer)
            if not Cluster.known.filter(slug="local").exists():
                create_cluster(
                    engineer,
                    slug="local",
                    name="This machine",
                    driver="local",
                    environments=["dev", "staging", "prod"],
                    simulated=True,
                )
            call_command(
                "catalog",
                "load",
                str(settings.BASE_DIR / "examples" / "catalog"),
                user="pat",
                approve_as="yasmine",
                stdout=self.stderr,
            )
            if not Pool.objects.filter(slug="gpu-pool").exists():
                create_pool(
                    engineer,
                    slug="gpu-pool",
                    name="Shared GPU pool (simulated accelerators)",
                    cluster="local",
                    limit=8,
                    observed=8,
                    simulated=True,
                    profiles=_gpu_profiles(),
                )
            _set_quotas(engineer)
            history.load()
        for line in printed:
            self.stdout.write(line)

    def _people(self) -> list[str]:
        missing = [person for person in DEMO_PEOPLE if not User.objects.filter(username=person["username"]).exists()]
        if not missing:
            return []
        password = settings.DEMO_PASSWORD or random_text(16)
        for person in missing:
            create_person(
                system("demo"),
                username=person["username"],
                full_name=person["name"],
                email=f"{person['username']}@example.com",
                password=password,
                groups=tuple(person["groups"]),
            )
        names = ", ".join(person["username"] for person in missing)
        shown = "from GATEHOUSE_DEMO_PASSWORD" if settings.DEMO_PASSWORD else password
        return [f"Demo sign-ins: {names}", f"Demo password: {shown}"]

    def _projects(self, engineer: Principal) -> None:
        for slug, (fields, members) in PROJECTS.items():
            if Project.objects.filter(slug=slug).exists():
                continue
            project = services.create_project(engineer, slug=slug, **fields)
            for username, role in members.items():
                services.set_member(engineer, project, username=username, role=role)
            services.remove_member(engineer, project, username=engineer.name)


def _set_quotas(engineer: Principal) -> None:
    """Give each project its quotas, once: what somebody has set or taken away since then stays as it is."""
    for project in Project.objects.filter(slug__in=GPUS):
        if Row.objects.filter(action="quotas.set_quotas", project=project.slug).exists():
            continue
        gpus = max(GPUS[project.slug], sum(taken(project)))  # an older demo may hold more already
        set_quotas(engineer, project, {"gpus": {"limit": gpus}, "tokens": TOKENS})


def _gpu_profiles() -> list[str]:
    return list(HardwareProfile.objects.filter(accelerator_count__gt=0).values_list("slug", flat=True))
