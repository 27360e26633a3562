"""What the fake kubelet would write, without a cluster."""

import pytest

from tests.cluster.api import Object
from tests.cluster.objects import condition
from tests.cluster.pod_status import MODES, play


def is_ready(status: Object) -> bool:
    """Whether a status says that its pod is ready."""
    return condition({"status": status}, "Ready").get("status") == "True"


def test_every_mode_ends_where_its_name_says() -> None:
    pod: Object = {"metadata": {}, "spec": {"containers": [{"name": "vllm", "image": "x"}]}}
    ends = {}
    for mode in MODES:
        pod["metadata"]["annotations"] = {"fake-kubelet/mode": mode}
        ends[mode] = is_ready(play(pod, "127.0.0.1")[-1].status)
    assert {mode for mode, ready in ends.items() if ready} == {"", "slow-start", "stuck"}
    pod["metadata"]["annotations"] = {"fake-kubelet/mode": "oomm"}
    with pytest.raises(ValueError, match="'oomm' is none of slow-start"):
        play(pod, "127.0.0.1")
