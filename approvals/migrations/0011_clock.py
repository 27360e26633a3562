"""The objective's clock of the requests that are there: they count as if their clock had run since they were sent."""

import datetime as dt

from django.conf import settings
from django.db import migrations, models

from approvals.objective.days import DEFAULT

BATCH = 500


def begin(apps, schema_editor):
    """Set the clocks by the calendar of a new portal, in batches. The clock of what nobody waits for stands still."""
    request = apps.get_model("approvals", "Request")
    last = 0
    while batch := list(_sent(request).filter(pk__gt=last).order_by("pk")[:BATCH]):
        for one in batch:
            end = _end(one)
            one.clock_seconds = DEFAULT.business_seconds(one.submitted_at, end) if end else 0
            one.clock_since = None if end else one.submitted_at
            one.due_at = None if end else DEFAULT.shift(one.submitted_at, settings.LEAD_TIME_OBJECTIVE_SECONDS)
        request.objects.bulk_update(batch, ["clock_seconds", "clock_since", "due_at"])
        last = batch[-1].pk


def _sent(request):
    columns = ("kind", "state", "submitted_at", "decided_at", "updated_at", "endpoint__ready_at", "endpoint__phase")
    return request.objects.filter(submitted_at__isnull=False).select_related("endpoint").only(*columns)


def _end(one) -> dt.datetime | None:
    """Return when the clock of a request stopped; None while it runs."""
    if one.state == "submitted":
        return None
    if one.kind == "endpoint" and one.state == "approved" and one.endpoint and one.endpoint.phase != "deleted":
        return one.endpoint.ready_at
    return one.decided_at or one.updated_at


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0010_waivers_between_people"),
        ("endpoints", "0007_served"),
    ]

    operations = [
        migrations.AddField(model_name="request", name="due_at", field=models.DateTimeField(null=True)),
        migrations.AddField(model_name="request", name="first_token_at", field=models.DateTimeField(null=True)),
        migrations.AddIndex(model_name="request", index=models.Index(fields=["state", "due_at"], name="request_due")),
        migrations.AddIndex(
            model_name="request", index=models.Index(fields=["state", "decided_at"], name="request_decided")
        ),
        migrations.RunPython(begin, migrations.RunPython.noop, elidable=True),
    ]
