"""The words of the help on the pages of rules, policies, waivers and reviews, and on those of clusters."""

from collections.abc import Mapping

_LEAVE = (
    "access",
    "One action ends sessions, keys, tokens, memberships, groups and grants, withdraws open requests and hands waiting "
    "reviews back. You see the counts first.",
    "What the person made stays. Projects without an owner, endpoints without a contact and applications without an "
    "owner are told to those who look after them.",
)
_REVIEW = (
    "access",
    "An entry is something that was held when the review began. Keep it, or revoke it: that ends it at once, as if it "
    "were taken away on its own page.",
    "Owners answer for their project, governance for the rest. Nobody answers for their own access. What nobody "
    "answered stays when the review is closed, and is counted.",
)
_POLICIES = (
    "policies",
    "A rule is a file: an expression over one documented input, the words that people read, the controls that it "
    "supports, and its own tests. What cannot be evaluated counts as failed.",
    "Hits are requests of the last 30 days that a rule failed, warned about or would have failed without a waiver.",
)
_POLICY_DRAFT = (
    "policies",
    "A draft is yours alone and changes nothing. Edit, run the tests, look at the impact on what runs and what was "
    "asked, then publish with a reason.",
    "A bundle with a failing test cannot be published. Every version stays and can be published again; nothing that "
    "runs is stopped by publishing.",
)
_ENVELOPES = (
    "auto-approval",
    "A rule in shadow only records what it would have decided. Compare that with what people did, above all where it "
    "would have approved and they did not, before it decides anything.",
    "Switching on takes a governance lead; switching off is one button, and counts for the very next request. A "
    "changed text is in shadow again.",
)
_WAIVERS = (
    "waivers",
    "A waiver lets one rule pass for one request or endpoint, until a day. Its approver neither asked for it, nor owns "
    "it, nor asked for what it is for.",
    "Nothing extends a waiver. When it ends, the rule counts again and the finding is open again; nothing that runs is "
    "stopped by that.",
)

_CLUSTER = (
    "connect-a-cluster",
    "The manifest holds the account that the driver needs and no more; the test asks the cluster for each verb in it. "
    "A finding says what is missing and what to do.",
    "A credential is kept encrypted and shown to nobody. In maintenance nothing is started or stopped; what runs goes "
    "on, and calls are answered.",
)

_ADMISSION = (
    "admission-policy",
    "The cluster compares what would run with what was approved here, field by field: a copied name or label proves "
    "nothing. It records first (audit), then refuses (enforce).",
    "The portal only says what was approved; the policy is applied by whoever administers the cluster, and the test "
    "says whether it is there and current.",
)

TEXTS: Mapping[str, tuple[str, ...]] = {
    "cluster_admission": _ADMISSION,
    "cluster_admission_manifest": _ADMISSION,
    **dict.fromkeys(
        (
            "cluster_list",
            "cluster_create",
            "cluster_detail",
            "cluster_checks",
            "cluster_manifest",
            "cluster_change",
            "cluster_rotate",
            "cluster_pause",
            "cluster_remove",
        ),
        _CLUSTER,
    ),
    "person_leave": _LEAVE,
    "access_review_list": _REVIEW,
    "access_review": _REVIEW,
    "policy_list": _POLICIES,
    "policy_rule": _POLICIES,
    "policy_draft": _POLICY_DRAFT,
    "policy_draft_discard": _POLICY_DRAFT,
    "policy_draft_publish": _POLICY_DRAFT,
    "policy_preview": _POLICY_DRAFT,
    "policy_roll_back": _POLICY_DRAFT,
    "envelope_list": _ENVELOPES,
    "envelope_detail": _ENVELOPES,
    "envelope_on": _ENVELOPES,
    "envelope_sample": _ENVELOPES,
    "envelope_read": _ENVELOPES,
    "waiver_list": _WAIVERS,
    "waiver_detail": _WAIVERS,
    "waiver_revoke": _WAIVERS,
    "finding_list": _WAIVERS,
    "endpoint_rules": _WAIVERS,
    "request_replay": (
        "policies",
        "What other rules say of the input from which this request was decided: the stored facts of that day, judged "
        "by the rules that you choose.",
        "Nothing is looked up again and nothing is changed. If the stored facts are not those that were signed, the "
        "page says so.",
    ),
    "endpoint_notices": (
        "troubleshooting-clusters",
        "What the cluster wrote down itself about the endpoint's objects, each thing once with how often it happened. "
        "It is asked when you open this page, and forgets after about an hour.",
        "What keeps the endpoint from running stands on its page in one sentence, and stays in the portal's own events "
        "when the cluster has forgotten it.",
    ),
}
