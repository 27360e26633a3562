"""What is said about answers of an API server; the columns are those of `cases.Case`."""

from endpoints.clusters import Turn

API: tuple[tuple[str, Turn, bool, str, str, str], ...] = (
    (
        "certificate_expired", "platform", False, "TLS handshake",
        "The certificate of the cluster's API server has expired.",
        "A platform engineer renews it; running engines are not affected.",
    ),
    (
        "certificate_untrusted", "platform", False, "TLS handshake",
        "The certificate of the cluster's API server cannot be trusted: {detail}.",
        "A platform engineer corrects the CA or the address of the cluster; never switch the check off.",
    ),
    (
        "cluster_slow", "platform", False, "No answer in time, 504",
        "The cluster's API server did not answer in time.",
        "It is tried again by itself; running engines are not affected.",
    ),
    (
        "cluster_unreachable", "platform", False, "No connection",
        "The cluster's API server cannot be reached: {detail}.",
        "It is tried again by itself; a platform engineer looks at address, network and server.",
    ),
    (
        "token_refused", "platform", False, "401",
        "The cluster does not accept the portal's credentials: they have expired or were revoked.",
        "A platform engineer gives the cluster new ones; running engines are not affected.",
    ),
    (
        "not_signed_in", "platform", False, "403 for `system:anonymous`",
        "The cluster sees the portal as nobody: it was asked without credentials.",
        "A platform engineer gives the cluster a token or a kubeconfig.",
    ),
    (
        "permission_missing", "platform", False, "403 by RBAC",
        "The portal's account {user} may not {verb} {resource}{group} {scope}.",
        "A platform engineer applies the cluster's RBAC manifest again; it names this verb.",
    ),
    (
        "forbidden", "platform", False, "403 of another kind",
        "The cluster forbids it: {detail}.",
        "A platform engineer corrects what it names.",
    ),
    (
        "kind_missing", "platform", True, "404 of a group, a version or a kind",
        "The cluster does not know objects of the kind {kind}: what brings them is missing, or of another version.",
        "A platform engineer installs it, or chooses another driver for the cluster.",
    ),
    (
        "namespace_missing", "platform", False, "404 of a namespace",
        "The namespace {namespace} is not there.",
        "The next round creates it; when it stays away, a platform engineer looks at the portal's rights.",
    ),
    (
        "not_found", "nobody", False, "404",
        "The object {thing} is not there (any more).",
        "The next round creates it again where it is wanted.",
    ),
    (
        "already_exists", "nobody", False, "409 `AlreadyExists`",
        "The object {thing} is there already.",
        "It is taken over when it carries this endpoint's labels, and never touched when it does not.",
    ),
    (
        "field_conflict", "platform", True, "409 with `FieldManagerConflict`",
        "The field {field} is held by {manager}: it was changed by hand or by another tool.",
        "A platform engineer lets the other let go of it; then press Retry.",
    ),
    (
        "changed_meanwhile", "nobody", False, "409 `Conflict`",
        "The object {thing} was changed by somebody else at the same moment.",
        "It is read again and tried again by itself.",
    ),
    (
        "history_gone", "nobody", False, "410, `Expired`",
        "The cluster has forgotten the point from which changes were followed.",
        "Everything is read anew by itself.",
    ),
    (
        "object_invalid", "platform", True, "422, 400",
        "The cluster does not accept the object {thing}: {detail}.",
        "A platform engineer corrects the runtime of the version or the hardware profile.",
    ),
    (
        "field_unknown", "platform", True, "500 of a server-side apply, 400 of a strict one",
        "The cluster does not know the field {field} of the object {thing}: it runs another version than expected.",
        "A platform engineer upgrades the cluster or its CRDs, or reports it as a fault of the portal.",
    ),
    (
        "object_too_large", "platform", True, "413",
        "The cluster refuses the object because it is too large.",
        "A platform engineer shortens arguments or environment of the version's runtime.",
    ),
    (
        "slow_down", "nobody", False, "429",
        "The cluster asks for patience: it has too many calls now.",
        "It is tried again by itself{after}.",
    ),
    (
        "cluster_unavailable", "platform", False, "502, 503; 429 while a kind is being set up",
        "The cluster's API server is not available now: {detail}.",
        "It is tried again by itself{after}; running engines are not affected.",
    ),
    (
        "cluster_error", "platform", False, "Other 5xx",
        "The cluster's API server failed with status {status}: {detail}.",
        "It is tried again by itself; a platform engineer reads the server's log when it stays.",
    ),
    (
        "request_refused", "platform", True, "Other 4xx",
        "The cluster refuses the call with status {status}: {detail}.",
        "A platform engineer reports it as a fault of the portal.",
    ),
    (
        "answer_not_understood", "platform", False, "Anything that is not an answer of this API",
        "What answers at the cluster's address is not a Kubernetes API server (status {status}).",
        "A platform engineer corrects the address of the cluster.",
    ),
)  # fmt: skip
