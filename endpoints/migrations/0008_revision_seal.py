"""Each revision is sealed with a digest of what was approved."""

from typing import Any

from django.db import migrations, models

from portal.http import digest

BATCH = 500


def seal(apps: Any, schema_editor: Any) -> None:
    """Seal the revisions that are there, in batches, as `Revision.digest` does."""
    rows = apps.get_model("endpoints", "Revision").objects.using(schema_editor.connection.alias)
    names = ("version_id", "profile_id", "replicas", "concurrency", "context_tokens", "runtime",
             "authorization_reference", "authorization_digest")  # fmt: skip
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:BATCH]):
        for row in batch:
            facts = {"endpoint": str(row.endpoint_id), **{name: getattr(row, name) for name in names}}
            row.seal = digest(facts)
        rows.bulk_update(batch, ["seal"])
        last = batch[-1].pk


class Migration(migrations.Migration):
    """One column, filled."""

    dependencies = [("endpoints", "0007_served")]

    operations = [
        migrations.AddField(
            model_name="revision", name="seal", field=models.CharField(db_default="", default="", max_length=80)
        ),
        migrations.RunPython(seal, migrations.RunPython.noop, elidable=True),
    ]
