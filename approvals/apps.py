"""App configuration."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class ApprovalsConfig(AppConfig):
    """Asking and deciding."""

    name = "approvals"

    def ready(self) -> None:
        """Register the permission rules, the links that mails carry, and the kind whose plan needs the plans of the
        others; keep the database's own guard of decisions in place after each migration.
        """
        from approvals import mail_link, permissions, triggers
        from approvals.envelopes import permissions as envelopes
        from approvals.kinds import KINDS, waiver
        from approvals.waivers import permissions as waivers
        from projects.notify import mail

        for part in (permissions, envelopes, waivers):
            part.register_rules()
        KINDS["waiver"] = waiver
        mail.OFFERS.update(dict.fromkeys(mail_link.KINDS, mail_link.offer))
        pre_migrate.connect(triggers.drop_before_migrate, sender=self)
        post_migrate.connect(triggers.create_after_migrate, sender=self)
