from django.db import migrations, models


class Migration(migrations.Migration):
    """What a cluster does by itself with what was not approved."""

    dependencies = [
        ("endpoints", "0013_watch"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="admission",
            field=models.CharField(db_default="off", default="off", max_length=8),
        ),
    ]
