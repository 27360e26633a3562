"""What the page of a cluster shows of its admission policy."""

from typing import Any

from django.urls import reverse

from endpoints.fleet import rendering
from endpoints.models import Cluster
from endpoints.views.cluster_cells import make_chip

MODES = {
    "off": ("Off", "grey", "none", "Nothing is refused there by itself: whoever may write into a namespace may run"
            " something beside what was approved."),
    "audit": ("Audit", "orange", "info", "The cluster records and warns of what it would refuse, and lets it pass."),
    "enforce": ("Enforce", "green", "lock", "The cluster refuses what was not approved, whoever asks for it."),
}  # fmt: skip
SEEN = {
    "": ("Not known", "grey", "pending"),
    "none": ("Not installed", "red", "err"),
    "audit": ("Installed, records", "green", "ok"),
    "enforce": ("Installed, refuses", "green", "ok"),
    "audit stale": ("Records, not current", "orange", "warn"),
    "enforce stale": ("Refuses, not current", "orange", "warn"),
}


def part(row: Cluster) -> dict[str, Any]:
    """Return what the page of a cluster shows of it (one query)."""
    made, seen = rendering.rendered(row), rendering.found(row, "admission")
    label, colour, icon, words = MODES[row.admission]
    state = SEEN.get(seen.state if seen else "", SEEN[""])
    return {
        "mode": make_chip(label, colour, icon),
        "words": words,
        "on": row.admission != "off",
        "enforces": row.admission == "enforce",
        "seen": make_chip(*state),
        "sentence": seen.sentence if seen else "The next test of the connection looks for it.",
        "fix": seen.fix if seen and seen.verdict != "pass" else "",
        "refuses": made.refuses,
        "advises": made.advises,
        "left_out": made.left_out,
        "digest": made.digest.removeprefix("sha256:")[:12],
        "url": reverse("cluster_admission_manifest", args=[row.slug]),
        "change_url": reverse("cluster_admission", args=[row.slug]),
        "command": f"kubectl apply --server-side -f {rendering.FILE}",
    }
