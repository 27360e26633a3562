"""Which approved versions do not deserve it any more, as expressions of the database: for counts and short lists."""

from django.db.models import Case, CharField, Exists, OuterRef, Value, When
from django.utils import timezone

from catalog.models import Evidence, Pin, PinState, Verdict

DRIFTED, FAILED, EXPIRED, NONE = "drifted", "failed a check", "evidence expired", "no evidence"


def doubt() -> Case:
    """Return what is wrong with the evidence of a version, worst first; null where the last finding of each kind holds.

    catalog/standing.py judges one version in full; this asks only what every version has.
    """
    own = Evidence.objects.filter(version=OuterRef("pk"))
    newer = Evidence.objects.filter(
        version=OuterRef("version"), kind=OuterRef("kind"), collected_at__gt=OuterRef("collected_at")
    )
    last = own.filter(~Exists(newer))
    return Case(
        When(Exists(Pin.objects.filter(version=OuterRef("pk"), state=PinState.DRIFTED)), then=Value(DRIFTED)),
        When(Exists(last.filter(verdict=Verdict.FAIL)), then=Value(FAILED)),
        When(Exists(last.filter(expires_at__lte=timezone.now())), then=Value(EXPIRED)),
        When(~Exists(own), then=Value(NONE)),
        default=None,
        output_field=CharField(),
    )
