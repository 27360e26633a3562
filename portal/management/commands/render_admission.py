"""`manage.py render_admission CLUSTER`: write the admission policy of a cluster to standard output, as a file."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from endpoints.fleet import rendering
from endpoints.models import Cluster
from portal.errors import Conflict


class Command(BaseCommand):
    """Render."""

    help = (
        "write what a cluster is to refuse by itself, by the policies that count now, as YAML for kubectl or GitOps;"
        " nothing is changed. Rules that it cannot judge are named on standard error"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the slug."""
        parser.add_argument("cluster", help="the slug of a registered cluster")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file."""
        cluster = Cluster.objects.filter(slug=options["cluster"][:40]).first()
        if cluster is None:
            raise CommandError(f"There is no cluster {options['cluster'][:40]}.")
        try:
            self.stdout.write(rendering.manifest(cluster), ending="")
        except Conflict as error:
            raise CommandError(error.sentence) from error
        for one in rendering.rendered(cluster).left_out:
            self.stderr.write(f"{one.id} is not in it, since {one.why}")
