"""Whose turn it is as columns that lists filter by; and a stage for every request that waits already."""

from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

BATCH = 500
DECIDERS = ["platform-engineers", "governance-leads"]


def give_stages(apps: Any, schema_editor: Any) -> None:
    """Each request that waits was to be decided by one reviewer; of access also by an owner of what is asked for."""
    Request, Stage, Submission = (apps.get_model("approvals", name) for name in ("Request", "Stage", "Submission"))
    waiting = Request.objects.filter(state="submitted", stages__isnull=True).select_related("endpoint").order_by("pk")
    while batch := list(waiting[:BATCH]):
        stages = []
        for request in batch:
            roles, words = list(DECIDERS), {*DECIDERS, "*"}
            if request.kind == "access":
                roles.insert(0, "owner")
                words |= {f"owner:{request.endpoint.project_id}"} if request.endpoint is not None else set()
            at = request.submitted_at or timezone.now()
            stages.append(
                Stage(
                    request=request, submission=request.submission, position=1, rule="default", name="Review",
                    reason="Every request is decided by somebody.", roles=roles, state="open", opened_at=at,
                )
            )  # fmt: skip
            request.waiting_on = "".join(f"|{word}" for word in sorted(words)) + "|"
            Submission.objects.get_or_create(
                request=request, number=request.submission,
                defaults={"body": request.body, "plan": request.plan, "plan_digest": request.plan_digest, "at": at},
            )  # fmt: skip
        Stage.objects.bulk_create(stages)
        Request.objects.bulk_update(batch, ["waiting_on"])


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0011_clock"),
        ("catalog", "0001_initial"),
        ("endpoints", "0001_initial"),
        ("projects", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(model_name="request", name="request_waiting"),
        migrations.RemoveField(model_name="request", name="waiting_roles"),
        migrations.AddField(
            model_name="request",
            name="answered_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=400),
        ),
        migrations.AddField(
            model_name="request",
            name="waiting_on",
            field=models.CharField(blank=True, db_default="", default="", max_length=400),
        ),
        migrations.AddIndex(
            model_name="request",
            index=models.Index(fields=["state", "waiting_on", "requester", "answered_by"], name="request_waiting_on"),
        ),
        migrations.AddConstraint(
            model_name="stage",
            constraint=models.UniqueConstraint(fields=("id", "request"), name="stage_request"),
        ),
        migrations.RunPython(give_stages, migrations.RunPython.noop),
    ]
