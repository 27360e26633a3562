"""The calendar by which the objective counts."""

from django.db import models

from projects.models import User


class Calendar(models.Model):
    """Which days count: one row, made when it is first changed; without it Monday to Friday in UTC."""

    zone = models.CharField(max_length=64, default="UTC")
    workdays = models.JSONField(default=list)  # 0 Monday … 6 Sunday
    holidays = models.JSONField(default=list)  # [{"on": "2026-12-25", "name": "Christmas Day"}]
    changed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.zone
