from django.db import migrations, models


class Migration(migrations.Migration):
    """What a look tells beside the reason: what was tried, what is to be done, and the steps of the start."""

    dependencies = [
        ("endpoints", "0010_fleet"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="reason_tried",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="reason_next",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="progress",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
