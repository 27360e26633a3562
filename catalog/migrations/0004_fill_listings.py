from django.db import migrations

from catalog.listings import rows_of


def fill(apps, schema_editor):
    """Write the listings of what is there already; columns that later releases added are left to them."""
    Asset, Version, Listing = (apps.get_model("catalog", name) for name in ("Asset", "Version", "Listing"))
    columns = {field.attname for field in Listing._meta.concrete_fields}
    for asset in Asset.objects.iterator(chunk_size=500):
        versions = list(Version.objects.filter(asset=asset).prefetch_related("evidence"))
        rows = [{name: value for name, value in row.items() if name in columns} for row in rows_of(asset, versions)]
        Listing.objects.bulk_create(Listing(**row) for row in rows)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0003_living_listings")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
