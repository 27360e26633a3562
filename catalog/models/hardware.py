"""What a replica may run on."""

from django.db import models
from django.db.models import Q

from projects.models import slug_validator


class HardwareProfile(models.Model):
    """What a replica may run on. `memory_bytes` is per accelerator, or of the machine's memory where there is none."""

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    accelerator = models.CharField(max_length=40, blank=True)  # "" = none
    accelerator_count = models.PositiveSmallIntegerField(default=0)
    memory_bytes = models.BigIntegerField()
    price_per_hour = models.DecimalField(max_digits=10, decimal_places=4)
    currency = models.CharField(max_length=3)
    enabled = models.BooleanField(default=True)
    order = models.PositiveSmallIntegerField(default=100)

    class Meta:
        ordering = ["order", "slug"]
        constraints = [
            models.CheckConstraint(condition=Q(price_per_hour__gte=0), name="profile_price_not_negative"),
            models.CheckConstraint(condition=Q(memory_bytes__gt=0), name="profile_memory_positive"),
        ]

    def __str__(self) -> str:
        return self.slug
