"""The `kserve` driver where endpoints have adopted what ran before."""

from endpoints.clusters import ClusterDriver, Place
from endpoints.clusters.kserve.driver import KServeDriver
from endpoints.clusters.kubernetes.adopting import Adopting


class AdoptingKServe(Adopting, KServeDriver):
    """What endpoints have adopted, beside KServe's objects that the portal wrote."""


def driver(place: Place) -> ClusterDriver:
    """Return the driver of `place`."""
    return AdoptingKServe(place) if place.adopted else KServeDriver(place)
