"""What a replica may run on."""

from django.db import models
from django.db.models import Q

from projects.models import slug_validator


class HardwareProfile(models.Model):
    """What a replica may run on. `memory_bytes` is per accelerator, or of the machine's memory where there is none.

    The second part is for clusters of containers: what a node calls the accelerator, and which nodes may be used.
    """

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=80)
    accelerator = models.CharField(max_length=40, blank=True)  # "" = none
    accelerator_count = models.PositiveSmallIntegerField(default=0)
    memory_bytes = models.BigIntegerField()
    price_per_hour = models.DecimalField(max_digits=10, decimal_places=4)
    currency = models.CharField(max_length=3)
    enabled = models.BooleanField(default=True)
    order = models.PositiveSmallIntegerField(default=100)
    # nvidia.com/gpu, nvidia.com/mig-3g.40gb, …; "" with accelerators = nvidia.com/gpu
    resource = models.CharField(max_length=100, blank=True, db_default="", default="")
    node_selector = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))  # label: value
    # [{key, operator, value, effect}] as Kubernetes has them; none = that of the resource itself
    tolerations = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    cpu_millis = models.PositiveIntegerField(default=0, db_default=0)  # of one replica; 0 = the driver's default
    # main memory of one replica beside accelerators; 0 = as much as its accelerators have
    host_memory_bytes = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ["order", "slug"]
        constraints = [
            models.CheckConstraint(condition=Q(price_per_hour__gte=0), name="profile_price_not_negative"),
            models.CheckConstraint(condition=Q(memory_bytes__gt=0), name="profile_memory_positive"),
        ]

    def __str__(self) -> str:
        return self.slug
