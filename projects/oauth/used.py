"""What works once: a digest in the database says that it has."""

import datetime as dt

from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.models import UsedToken


def use_once(digest: str, seconds: int) -> bool:
    """Whether this is the first use of `digest`, which is remembered for `seconds`. Of two at once one is told no."""
    try:
        with transaction.atomic():
            UsedToken.objects.create(digest=digest, expires_at=timezone.now() + dt.timedelta(seconds=seconds))
    except IntegrityError:
        return False
    return True


def is_used(digest: str) -> bool:
    """Whether it has been used."""
    return UsedToken.objects.filter(digest=digest).exists()
