from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0006_authorization"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["name", "id"], name="asset_by_name"),
        ),
        migrations.AddIndex(
            model_name="listing",
            index=models.Index(fields=["audience", "listed", "asset"], name="listing_by_access"),
        ),
    ]
