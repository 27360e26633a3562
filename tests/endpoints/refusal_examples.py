"""Words for the holes of what drivers say by themselves, one example of each case."""

from endpoints.clusters import ClusterError
from endpoints.clusters.explaining.cases import refused

WORDS: dict[str, dict[str, str]] = {
    "driver_missing": {"cluster": "east", "driver": "nomad"},
    "credential_closed": {"cluster": "east"},
    "credential_invalid": {"cluster": "east"},
    "server_invalid": {"cluster": "east"},
    "no_service_account": {"cluster": "east"},
    "address_refused": {
        "detail": "east.example.com leads to 10.0.0.9, which is not public",
        "way": "Whoever runs the portal can allow it in GATEHOUSE_CLUSTER_ALLOW",
    },
    "autoscaler_unset": {},
    "approvals_missing": {},
    "name_collision": {"thing": "Deployment ep-1-r1", "where": " in the namespace gatehouse-fraud-dev"},
    "answer_too_large": {"what": "An answer", "limit": "67,108,864"},
    "runtime_missing": {},
    "invalid_workload": {"detail": "needs a command and 0 to 64 replicas"},
    "adopted_gone": {"thing": "Deployment llm in lab"},
    "invalid_endpoint": {"detail": "must be a UUID"},
    "image_missing": {},
    "image_not_pinned": {"image": "registry.example.com/vllm:1"},
    "resource_invalid": {"resource": "a GPU"},
    "engine_unsupported": {},
    "engine_missing": {"program": "vllm", "detail": "is not installed"},
    "start_unconfirmed": {"seconds": "15"},
    "replica_locked": {},
    "machine_disk_full": {"detail": "No space left on device"},
    "state_not_writable": {"detail": "Permission denied"},
    "machine_exhausted": {"detail": "Cannot allocate memory"},
    "machine_error": {"detail": "Input/output error"},
}


def example(code: str) -> ClusterError:
    """Return what a driver says, with the words of its example."""
    return refused(code, **WORDS[code])
