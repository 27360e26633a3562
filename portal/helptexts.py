"""The words of the help on each page: the guide to read on in, then two paragraphs, by route name."""

from collections.abc import Mapping

from portal.helptexts_fleet import TEXTS as FLEET
from portal.helptexts_governing import TEXTS as GOVERNING

# The files of docs/ that are pages, in the order of the flow.
GUIDES: Mapping[str, str] = {
    "catalog": "The catalog",
    "catalog-as-code": "Catalog as code, Backstage, Open Data Hub, CycloneDX",
    "mcp": "MCP servers",
    "requests": "Requests",
    "pipelines": "Pipelines and requests as code",
    "approvals": "Approvals",
    "objective": "The objective",
    "auto-approval": "Approval by rule",
    "policies": "Policies",
    "waivers": "Waivers and findings",
    "endpoints": "Endpoints",
    "drift": "Drift and environments",
    "gateway": "Calling models: the gateway",
    "oauth": "Applications and tokens (OAuth 2)",
    "usage": "Usage and capacity",
    "capacity": "Capacity: nodes, shares, queue",
    "quotas": "Quotas",
    "notifications": "Notifications and webhooks",
    "people": "People, groups and role presets",
    "access": "Who may do what",
    "account": "Your account",
    "sso": "Single sign-on",
    "connect-a-cluster": "Connect a cluster",
    "admission-policy": "Refuse what was not approved",
    "brownfield": "What runs without approval, and how to take it over",
    "gitops": "Clusters that others apply from Git",
    "troubleshooting-clusters": "What the portal says about a cluster",
    "operations": "Operations",
}

_ACCOUNT = (
    "account",
    "A second factor is something that you have: an app, a security key. Set up two when you can, and keep the "
    "recovery codes away from the phone. An ended session is refused with its next click.",
    "Decisions, roles and keys ask for a recent proof that it is you. What you typed waits and goes on by itself after "
    "it.",
)
_FORM = (
    "requests",
    "The plan beside the form is worked out from your answers: memory, accelerators, room in the pool, cost, and each "
    "check with what would mend it. It is frozen when you send the request.",
    "Nothing you type is lost when a field is wrong. A draft is seen by your project and decided by nobody.",
)
_REQUEST = (
    "requests",
    "The state says in one sentence what is going on, and whose turn it is. Until a decision you can withdraw it; "
    "after “changes requested” you edit and send it again.",
    "What is approved is what is started: the plan and its digest do not change after you have sent it.",
)
_FILE = (
    "pipelines",
    "A request can be kept as a file in a repository: reviewed like code, sent by a person or a pipeline.",
    "A file becomes a draft first. What is wrong with it is said with the name of the field, and nothing is kept.",
)
_PEOPLE = (
    "people",
    "What somebody holds on the whole platform stands here: the built-in groups, presets, and named groups to which "
    "assets can be opened. A change counts at once and is kept with its reason.",
    "Groups that the identity provider manages are set at each sign-in; change them there. Somebody who runs the "
    "platform is always left.",
)
_ACCESS = (
    "access",
    "Pick a project, asset, person or key. Every line says through which role, group, grant, share or scope something "
    "is allowed; where there are several, taking one away leaves the others.",
    "The answer is worked out by the same rules that let people in or refuse them. “Why not?” names what is missing "
    "and who can give it.",
)
_PRESETS = (
    "people",
    "A preset is a role under the name that your organisation uses: a list of permissions. Below each permission stand "
    "the built-in roles that hold it.",
    "A change counts at once for everybody who holds the preset. Nobody changes one that they hold themselves, and "
    "nobody gives a role that holds more than their own.",
)
_MAPPINGS = (
    "sso",
    "A group of the identity provider leads into a platform group, or into a project with a role. What gives and takes "
    "is the provider's alone; what only gives is taken back by hand.",
    "Roles are settled at each sign-in, and every few minutes while somebody is signed in. Deleting the last mapping "
    "to a place takes what it gave at once.",
)
_NO_GROUP = (
    "sso",
    "You have an account at the identity provider, and no role here yet. A role comes from a group there, or from a "
    "project's owner.",
    "Ask for a group that the page names, then sign in again: groups are read at every sign-in.",
)
_QUEUE = (
    "approvals",
    "The oldest request against the five-day objective comes first. A row opens in place with plan, checks, room and "
    "similar decisions; a approves, c asks for changes, r rejects, j and k move.",
    "Nobody decides on an own request. The plan is computed again when you decide; if it got worse you are shown the "
    "new one first.",
)
_ENDPOINT = (
    "endpoints",
    "The state is what was observed, not what was clicked: one sentence, whose turn it is, and what happens next. "
    "A failed endpoint says who is affected and what was tried.",
    "Call it with a key of its project at the address shown. Suspending gives its accelerators back; resuming "
    "reserves them again and may have to wait.",
)
_REVISIONS = (
    "endpoints",
    "A revision is what exactly runs, with the approval it runs under. A new one starts beside the one that answers "
    "calls where there is room, else in its place; if it fails, the one that worked goes on.",
    "Going back needs no request while the approval of the old revision holds and its version is neither blocked nor "
    "retired. Going back to the one that runs cancels a rollout; a canary is decided here.",
)
_KEYS = (
    "gateway",
    "A key belongs to a project and may be bound to endpoints. Its secret is shown once, when it is made; afterwards "
    "only its beginning is.",
    "Rotate a key to get a new secret while the old one still works for a while. A revoked key stops within a second "
    "on every gateway.",
)
_CAPACITY = (
    "capacity",
    "A box is an accelerator, by node and number. What other projects hold is shown as “another project”. Where nodes "
    "and reservations say different things, the page says so.",
    "When the pool is full an approved endpoint waits with a place and, where that is known, the day before which it "
    "does not start. The turn is that of the project furthest below its share.",
)
_NOTICES = (
    "notifications",
    "What happened to your requests, endpoints, quotas and keys, each with the page to go to. Nothing here has to be "
    "answered by mail.",
    "Preferences say what also comes by mail, at once or once a day, and in which time zone.",
)
_HOOKS = (
    "notifications",
    "A webhook is told about events by a signed POST. Check the signature with the secret that is shown once.",
    "What could not be delivered is tried again for a day and then waits here; you can send it again by hand.",
)
_APPLICATIONS = (
    "oauth",
    "An application gets tokens by OAuth 2: for people who said yes, or as a service account with a role in the "
    "project. Somebody answers for each, and each has a last day.",
    "A secret is shown once. Rotating it stops the old one at once; ending an application stops its tokens, its "
    "service account and the account's keys.",
)
_MINE = (
    "oauth",
    "Each line is a program that acts in your name, with what you allowed. It can never do more than you can.",
    "Disconnect what you do not know: its tokens of you stop at once. It has to ask you again after that.",
)
_CONSENT = (
    "oauth",
    "An application asks to act in your name. Tick what it may do; you can take it back under Account.",
    "Only say yes to what you started yourself. Deciding and administering need a second factor that was proved "
    "just now.",
)
_PROJECT = (
    "requests",
    "Owners manage members, developers request and operate, viewers read. Keys, endpoints, quotas and usage belong to "
    "a project.",
    "Not your project? Its owners give you a role; every change here leaves a row in the audit log.",
)
_INDEX = (
    "requests",
    "The way is always the same: catalog, request, approval, endpoint, key. The checklists tick themselves from what "
    "really happened.",
    "Press ? for the keys that work everywhere, and / to search.",
)

DEFAULT = _INDEX
TEXTS: Mapping[str, tuple[str, ...]] = {
    **GOVERNING,
    **FLEET,
    "home": (
        "requests",
        "What waits for you stands on top, then what runs and what is left of your quotas. Every number opens the "
        "list behind it.",
        "The switcher at the top narrows every page to one project. Press / to search and ? for all keys.",
    ),
    "search": (
        "catalog",
        "Every word must stand somewhere in the name, the project or the model. R-12, or just 12, finds that request; "
        "ast-001 finds that rule of the policies.",
        "You find only what you may see: people of your own projects, and nothing of projects that you are not in.",
    ),
    "help": _INDEX,
    "help_page": _INDEX,
    "news": _INDEX,
    "catalog_list": (
        "catalog",
        "Only approved versions can be requested. Counts beside a filter say how many assets it would show together "
        "with the other filters.",
        "“Fits on” assumes 4,096 tokens and 8 calls at a time; the asset's page lets you try other numbers.",
    ),
    "catalog_detail": (
        "catalog",
        "A loaded version never changes: what was reviewed is what runs. Evidence says what a check found, and what "
        "nobody has verified; open a line to read the raw report.",
        "The memory arithmetic shows each number's inputs. Where a version is blocked, everybody reads why.",
    ),
    "server_list": (
        "mcp",
        "Each line is a server that the project was granted, with the tools asked for and the last day. Owners "
        "and stewards end a grant at once; the registry view of the project shows it no more.",
        "The settings below lead clients to the same servers. What a caller must bring, like a key, is a variable that "
        "the client asks for: nothing secret stands in them.",
    ),
    "catalog_propose": (
        "catalog",
        "Whoever may send requests in a project may propose. A proposal is a draft that only you and the reviewers "
        "see; nothing of it is started before somebody else has approved it.",
        "Its evidence is collected at once. When every check has come to a verdict and none has failed, send it to "
        "review.",
    ),
    "catalog_propose_version": (
        "catalog",
        "A version never changes, so a new commit, another engine or a corrected figure is a new version. The form "
        "begins with the last one.",
        "Its evidence is collected at once, and reviewers see what differs from the version before.",
    ),
    "catalog_change": (
        "catalog",
        "The card is what people read of an asset before they ask for it. Its proposer may change it until a version "
        "was approved, platform engineers and governance leads at any time; short name and kind stay.",
        "Every version's card is judged again. What waits for a review by then has to be sent again, so that nobody "
        "lets in words that no reviewer has read.",
    ),
    "catalog_attach": (
        "catalog",
        "A document adds to what is known about a version: a signature, an ML-BOM, a Scorecard result, provenance, a "
        "measurement. The checks judge it; nobody's word counts without them.",
        "The newest document of a kind counts. Adding the same one again changes nothing.",
    ),
    "catalog_discard": (
        "catalog",
        "A draft that was never sent to review is deleted with its evidence. One that came back from a review is set "
        "aside as retired: what was asked and answered about it stays.",
        "At most twenty proposals of a person are open at a time; discarding one makes room.",
    ),
    "catalog_submit": (
        "catalog",
        "Sending it freezes what was found under a digest, and one platform engineer or governance lead who is not you "
        "decides. Every check must have come to a verdict, and none may have failed.",
        "A blocked version that is sent to review stays unusable until it is approved again.",
    ),
    "catalog_deprecate": (
        "catalog",
        "Nobody can ask for a deprecated version any more; what runs goes on.",
        "Name what to move to, which its page then leads to, and a day on which it is retired by itself.",
    ),
    "catalog_retire": (
        "catalog",
        "A retired version is not renewed any more; what runs on it goes on until its end date.",
        "To stop what runs, block it instead.",
    ),
    "catalog_block": (
        "catalog",
        "A block counts at once and for everybody: nothing of the version is started, not by a restart, a rollout or "
        "a retry. The page counts whom it concerns before anything happens.",
        "Suspended endpoints are on hold until the version is approved again or they get another one by a revision; "
        "then they run again by themselves.",
    ),
    "catalog_report": (
        "catalog",
        "The raw report is what the named tool said, with the inputs it looked at. Its digest stands in the audit log: "
        "nobody changes it afterwards unnoticed.",
        "A finding about content counts only for the content that it names; when the pin changes or its day passes, "
        "it is collected again, and earlier findings stay readable here.",
    ),
    "catalog_used": (
        "catalog",
        "Endpoints and projects that use the asset: by name where you may see them, by number in other projects.",
        "Whoever blocks or retires a version reads here whom it concerns.",
    ),
    "catalog_revoke": (
        "catalog",
        "Here you take the grant of an asset away. Its holder can ask for nothing new with it from then on, requests "
        "that wait for a decision included, and no longer sees it unless another grant opens it.",
        "What runs goes on until its last day; a renewal or a revision needs a grant again. Nothing is lost: the same "
        "grant can be given anew, and both stand in the audit log.",
    ),
    "catalog_compare": (
        "catalog",
        "Lines that are not the same for all versions say “differs”. Memory and price assume 4,096 tokens and 8 calls "
        "at a time, or the model's own limit.",
        "The address holds the choice: send it to whoever decides with you.",
    ),
    "request_list": (
        "requests",
        "Requests of your projects, with whose turn it is. Filters and order are in the address, so a view can be "
        "saved and sent.",
        "A request decided days ago is still readable with its plan, checks and reason.",
    ),
    "request_new": _FORM,
    "request_edit": _FORM,
    "request_detail": _REQUEST,
    "request_assign": _REQUEST,
    "delegation_list": (
        "approvals",
        "Whoever decides requests by a role of their own can let a colleague do so until a day. The delegate decides "
        "in their own name; every record says for whom.",
        "What was lent is never lent on, and one person's roles count once in a request, whoever uses them.",
    ),
    "request_plan": _REQUEST,
    "request_import": _FILE,
    "request_yaml": _FILE,
    "approval_list": _QUEUE,
    "approval_detail": _QUEUE,
    "endpoint_list": (
        "notifications",
        "Endpoints of your projects as they were last observed. Ticked ones can be suspended and resumed together, "
        "with one answer each.",
        "One that ends soon can be renewed by a request; after its end it is suspended and later deleted, with "
        "reminders before.",
    ),
    "endpoint_detail": _ENDPOINT,
    "endpoint_events": _ENDPOINT,
    "endpoint_logs": (
        "endpoints",
        "The last lines of the engine, without prompts or answers: those are never logged.",
        "When an engine cannot start, the reason is usually in the last ten lines; the endpoint's page says it in a "
        "sentence where it is known.",
    ),
    "endpoint_revisions": _REVISIONS,
    "endpoint_rollback": _REVISIONS,
    "endpoint_settings": (
        "endpoints",
        "Scale within what was approved at once; more replicas, a later last day and another model are requests, which "
        "the links here begin for you.",
        "The contact is asked and reminded first. Only owners decide with whom the endpoint is shared.",
    ),
    "endpoint_unshare": (
        "endpoints",
        "Ending a share refuses the calls of that project within a second; the page counts what it made of it.",
        "Its keys stay. To keep others from asking again, make the endpoint not shareable.",
    ),
    "endpoint_suspend": (
        "endpoints",
        "The page counts what suspending affects before it happens, and who waits for the accelerators.",
        "Address, keys, settings and approval stay. Resuming reserves accelerators again and may have to wait.",
    ),
    "endpoint_delete": (
        "endpoints",
        "The page counts what a deletion affects before it happens. Its name stays reserved for 30 days, its usage "
        "and its audit rows stay.",
        "Suspending instead keeps address and keys and gives the accelerators back.",
    ),
    "key_list": _KEYS,
    "keys_revoke": _KEYS,
    "person_list": _PEOPLE,
    "access": _ACCESS,
    "access_why": _ACCESS,
    "person_detail": _PEOPLE,
    "group_list": _PEOPLE,
    "preset_list": _PRESETS,
    "preset_create": _PRESETS,
    "preset_detail": _PRESETS,
    "key_create": _KEYS,
    "key_rotate": _KEYS,
    "key_revoke": _KEYS,
    "usage": (
        "usage",
        "Each call is counted once, by the gateway, before its last byte leaves. Hours and days are UTC.",
        "Time to first token is measured at the gateway; p95 means that 95 of 100 calls were faster.",
    ),
    "capacity": _CAPACITY,
    "insight_calendar": (
        "objective",
        "The objective counts business time: whole days of this calendar, while it is not the requester's turn.",
        "A change counts from now on; what requests have used so far stays as it was counted.",
    ),
    "approval_by_mail": (
        "approvals",
        "The link of a mail leads its own person to one plan, for three days. It decides nothing by itself.",
        "Approving signs the digest on the page; another plan by now is refused.",
    ),
    "insights": (
        "approvals",
        "Lead time runs from sending a request to the first ready endpoint. A number without enough samples says so "
        "instead of guessing.",
        "The objective is five days of business time; the error budget says how many requests may be later.",
    ),
    "project_list": _PROJECT,
    "project_detail": _PROJECT,
    "audit_list": (
        "notifications",
        "Every change leaves a row in the same transaction: who, what, before and after, through which door. Rows "
        "cannot be changed or deleted.",
        "Rows are sealed in a chain of hashes; “manage.py audit verify” checks it, also in an export and off line.",
    ),
    "notification_list": _NOTICES,
    **dict.fromkeys(
        (
            "account",
            "usersessions_list",
            "account_email",
            "account_change_password",
            "account_set_password",
            "mfa_index",
            "mfa_activate_totp",
            "mfa_deactivate_totp",
            "mfa_view_recovery_codes",
            "mfa_generate_recovery_codes",
            "mfa_list_webauthn",
            "mfa_add_webauthn",
            "mfa_edit_webauthn",
            "mfa_remove_webauthn",
        ),
        _ACCOUNT,
    ),
    "preferences": _NOTICES,
    "webhook_list": _HOOKS,
    "webhook_detail": _HOOKS,
    "webhook_create": _HOOKS,
    "webhook_change": _HOOKS,
    "webhook_rotate": _HOOKS,
    "webhook_delete": _HOOKS,
    "project_webhook_list": _HOOKS,
    "project_webhook_create": _HOOKS,
    "limits": (
        "quotas",
        "A soft limit warns, a hard one refuses the call or the start. Tokens are counted by day or month, GPUs while "
        "they are held.",
        "The limit that binds is the one with least left. Owners ask for more by a request of kind quota; a raise "
        "ends by itself on its day.",
    ),
    "group_mapping_list": _MAPPINGS,
    "group_mapping_delete": _MAPPINGS,
    "sso_no_group": _NO_GROUP,
    "application_list": _APPLICATIONS,
    "application_create": _APPLICATIONS,
    "project_application_list": _APPLICATIONS,
    "project_application_create": _APPLICATIONS,
    "application_detail": _APPLICATIONS,
    "application_change": _APPLICATIONS,
    "application_rotate": _APPLICATIONS,
    "application_end": _APPLICATIONS,
    "my_applications": _MINE,
    "authorization": _CONSENT,
    "device_authorization": _CONSENT,
    "logout": _CONSENT,
    "configuration": _APPLICATIONS,
    "jwks": _APPLICATIONS,
    "userinfo": _APPLICATIONS,
}
