"""App configuration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProjectsConfig(AppConfig):
    """People, projects, permission, keys."""

    name = "projects"

    def ready(self) -> None:
        """Register the permission rules, and keep the platform's groups in place."""
        from projects import groups, rules, signins  # noqa: F401 - receivers connect themselves
        from projects.oauth import validator
        from projects.signin import factors, seen  # noqa: F401
        from projects.sso import kept  # noqa: F401

        rules.register_rules()
        validator.install()
        post_migrate.connect(groups.create_after_migrate, sender=self)
