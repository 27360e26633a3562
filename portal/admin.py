"""The back office shows everything and changes nothing, the models of other packages included."""

from django.contrib.admin import AdminSite

from projects.admin import ReadOnlyAdmin


def make_read_only(site: AdminSite) -> None:
    """Register again, read-only, what a package registered with an admin that writes: it would leave no audit row."""
    for model, current in list(site._registry.items()):
        if not isinstance(current, ReadOnlyAdmin):
            site.unregister(model)
            site.register(model, ReadOnlyAdmin)
