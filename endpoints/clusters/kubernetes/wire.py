"""The connection below the API: whether something listens, and whether its certificate holds for how long."""

import datetime as dt
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from endpoints.clusters import Place
from endpoints.clusters.checks import Check
from portal import outbound

PURPOSE = "cluster"
SOON = dt.timedelta(days=14)
POD_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")  # where Kubernetes puts it into each pod
LISTEN = "Look at address, port and firewall between the portal's workers and the cluster."


def certificate_checks(place: Place, ends: float) -> Iterator[Check]:
    """Yield whether the server is reached by `ends` (of the monotonic clock), then whether its certificate holds."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="resolve")  # a name server that hangs must not hold the test
    try:
        where = pool.submit(outbound.destination, place.server, purpose=PURPOSE).result(_left(ends))
    except outbound.OutboundRefused as error:
        yield Check("reachable", "fail", str(error), "Give the cluster another address.")
        return
    except (outbound.OutboundFailed, TimeoutError) as error:
        yield Check("reachable", "fail", str(error) or "The name of the server was not resolved in time.", LISTEN)
        return
    finally:
        pool.shutdown(wait=False)
    place_words = f"{where.host} port {where.port}"
    try:
        wire = _connected(where, ends)
    except OSError as error:
        yield Check("reachable", "fail", f"{place_words} is not reached: {_why(error)}.", LISTEN)
        return
    try:
        with wire:
            held = _certificate(place, wire, where.host, ends)
    except (OSError, ValueError) as error:
        why = "it says nothing" if isinstance(error, TimeoutError) else outbound.why(error)
        yield Check("reachable", "fail", f"{place_words} takes connections, but {why}.", LISTEN)
        return
    yield Check("reachable", "pass", f"{place_words} answers.")
    yield held


def _left(ends: float) -> float:
    return max(ends - time.monotonic(), 0.05)


def _connected(where: outbound.Destination, ends: float) -> socket.socket:
    last: OSError = OSError()
    for address in where.addresses[:3]:
        try:
            return socket.create_connection((address, where.port), timeout=min(_left(ends), outbound.CONNECT_SECONDS))
        except OSError as error:
            last = error
    raise last


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return "it took too long" if isinstance(error, TimeoutError) else "no way leads there"


def _certificate(place: Place, wire: socket.socket, host: str, ends: float) -> Check:
    """Return whether the certificate holds; raises OSError and ValueError where no TLS comes about."""
    context = _context(place)
    wire.settimeout(_left(ends))
    try:
        with context.wrap_socket(wire, server_hostname=host) as spoken:
            last = ssl.cert_time_to_seconds(str((spoken.getpeercert() or {}).get("notAfter")))
    except ssl.SSLCertVerificationError as error:
        fix = "Give the cluster the authority (CA) of its API server, or renew the certificate."
        return Check("certificate", "fail", f"It does not hold: {error.verify_message.rstrip('.')}.", fix)
    day = dt.datetime.fromtimestamp(last, dt.UTC)
    if day - dt.datetime.now(dt.UTC) < SOON:
        return Check("certificate", "warn", f"It holds only until {day:%Y-%m-%d}.", "Renew it before that day.")
    return Check("certificate", "pass", f"It holds until {day:%Y-%m-%d}.")


def _context(place: Place) -> ssl.SSLContext:
    pem = place.ca or (POD_CA.read_text(encoding="ascii") if place.in_cluster and POD_CA.exists() else "")
    context = ssl.create_default_context(cadata=pem or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
