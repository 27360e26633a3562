from django.db import migrations, models


class Migration(migrations.Migration):
    """The Git repository of a cluster to which others apply what stands in it."""

    dependencies = [
        ("endpoints", "0015_rogue"),
    ]

    operations = [
        migrations.AddField(
            model_name="cluster",
            name="repository",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.AddField(
            model_name="cluster",
            name="repository_ca",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddField(
            model_name="cluster",
            name="known_hosts",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
