"""The tables of tests/test_leaks.py: a line per place, a column per person.

`shows` are the places where a word was typed (tests/leak_kit.py); a cell says of whom they are seen:

    a q l   everything of alpaca, quokka, lemur; A Q L with its webhooks too
    s t o r what lemur shares with alpaca, what is told of that, what is offered, what is asked of an owner
    y       what quokka has asked for
    v V     the own saved views, all of them
    .       an answer without a word of anybody; *: any; -: refused, without a word; in: the way to the sign-in
    a?      may be seen, need not

The columns of pages: nobody, a stranger (cy owns quokka), viewer, developer and owner of alpaca, a platform engineer, a
governance lead, an auditor. Those of the API have three more, and see `CALLERS` for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from approvals.access.review_views import ENTRIES
from approvals.environments.views import MATRIX
from approvals.views.lists import REQUESTS
from approvals.views.queue_list import QUEUE
from approvals.waivers.lists import FINDINGS, WAIVERS
from catalog.views.lists import ASSETS
from endpoints.rogue.lists import ROGUES
from endpoints.views.key_lists import KEYS
from endpoints.views.lists import ENDPOINTS
from portal.listing import Listing
from projects.lists import AUDIT, PROJECTS
from projects.notify.views import LIST as NOTIFICATIONS
from projects.notify.webhook_views import DELIVERIES
from projects.oauth.lists import PLATFORM_APPLICATIONS, PROJECT_APPLICATIONS
from projects.people_views import PEOPLE
from tests.leak_kit import Habitat, Zoo

PERSONAS = ("nobody", "cy", "vic", "dana", "omar", "pat", "yasmine", "aud")
# noscope: a token of pat's that opens nothing; robot: a service account, member of alpaca; key: an API key of alpaca,
# of somebody who is in quokka too; bound: a token of pat's for alpaca alone.
CALLERS = ("nobody", "noscope", "cy", "vic", "dana", "omar", "pat", "yasmine", "aud", "robot", "key", "bound")


def quokka(zoo: Zoo) -> Habitat:
    """The hidden project."""
    return zoo.habitats["quokka"]


@dataclass(frozen=True)
class Line:
    """A place with what it shows, and a cell for each persona. `of`: whose objects stand in the address; `request`:
    which of its requests; `form`: what is posted.
    """

    at: str
    shows: str
    cells: str
    of: str = "quokka"
    request: str = "waiting"
    form: Callable[[Zoo], Mapping[str, str]] = lambda zoo: {}

    @property
    def place(self) -> str:
        """The route, without what is asked of it."""
        return self.at.partition("?")[0]

    @property
    def query(self) -> str:
        """What is asked of it, with the question mark."""
        return self.at[len(self.place) :]


def _id(row: Any) -> dict[str, str]:
    return {"id": str(row.pk)}


# fmt: off
#    place                                shows                             nobody cy vic dana omar pat yasmine aud
PAGE_LINES = [
    Line("",                              "failed",                         "in q as as ar aql * *"),
    Line("projects/",                     "slug name costcentre team",      "in qv a av a aql aql aql"),
    Line("projects/<slug:slug>/",         "slug name costcentre team person", "in * - - - * q q"),
    Line("projects/<slug:slug>/",         "slug person",                    "in - a a * * a a", of="alpaca"),
    Line("projects/<slug:slug>/mcp/",     "slug tool",                      "in q - - - q q q"),
    Line("projects/<slug:slug>/mcp/",     "slug tool",                      "in - a a a a a a", of="alpaca"),
    Line("projects/<slug:slug>/webhooks/", "webhook hookpath",              "in Q - - - Q - -"),
    Line("projects/<slug:slug>/webhooks/new/", "slug",                      "in q - - - q - -"),
    Line("projects/<slug:slug>/limits/",  "slug endpoint",                  "in q - - - q q q"),
    Line("projects/<slug:slug>/limits/",  "slug endpoint",                  "in - as as as a a a", of="alpaca"),
    Line("projects/<slug:slug>/keys/",    "key person endpoint",            "in q - - - q q q"),
    Line("projects/<slug:slug>/keys/new/", "slug endpoint",                 "in q - - - - - -"),
    Line("projects/<slug:slug>/keys/new/", "endpoint",                      "in - - as as - - -", of="alpaca"),
    Line("projects/<slug:slug>/keys/<uuid:key_id>/rotate/", "key",          "in q - - - - - -"),
    Line("projects/<slug:slug>/keys/<uuid:key_id>/revoke/", "key",          "in q - - - q - -"),
    Line("people/",                       "person fullname",                "in - - - - aql aql aql"),
    Line("people/<str:username>/",        "slug",                           "in - - - - q q q"),
    Line("people/<str:username>/leave/",  "slug",                           "in - - - - q - -"),
    Line("groups/",                       "",                               "in - - - - . . ."),
    Line("presets/",                      "",                               "in . . . . . . ."),
    Line("presets/new/",                  "",                               "in - - - - . . -"),
    Line("presets/<slug:preset>/",        "",                               "in . . . . . . ."),
    Line("access/",                       "slug",                           "in q a as a aql aql aql"),
    Line("access/?project=quokkaslug",    "person endpoint",                "in q - - - q q q"),
    Line("access/?user=quokkaperson",     "slug",                           "in q - - * * * *"),  # it suggests people
    Line("access/?project=quokkaslug&format=csv", "person",                 "in q - - - q q q"),
    Line("access/why/",                   "",                               "in . . . . . . ."),
    Line("access/why/?user=quokkaperson&project=quokkaslug&why=manage", "", "in q - - - q q q"),
    Line("access/reviews/",               "campaign",                       "in q . . a aql aql aql"),
    Line("access/reviews/<int:review_id>/", "campaign person key",            "in q - - - q q q"),
    Line("projects/<slug:slug>/applications/", "application",               "in q - - - q q q"),
    Line("projects/<slug:slug>/applications/new/", "slug",                  "in q - - - q - -"),
    Line("applications/",                 "",                               "in - - - - . . ."),
    Line("applications/new/",             "",                               "in - - - - . - -"),
    Line("applications/<uuid:application_id>/", "application about",        "in q - - - q q q"),
    Line("applications/<uuid:application_id>/change/", "application about", "in q - - - q - -"),
    Line("applications/<uuid:application_id>/rotate/", "application",       "in q - - - q - -"),
    Line("applications/<uuid:application_id>/end/", "application",          "in q - - - q - -"),
    Line("account/",                      "",                               "in . . . . . . ."),
    Line("account/applications/",         "",                               "in . . . . . . ."),
    Line("access/mappings/",              "",                               "in - - - - . . ."),
    Line("access/mappings/<int:mapping_id>/delete/", "",                    "in - - - - - - -"),
    Line("keys/revoke/",                  "",                               "in . - . . . - -"),
    Line("webhooks/",                     "",                               "in - - - - . - -"),
    Line("webhooks/new/",                 "",                               "in - - - - . - -"),
    Line("webhooks/<uuid:webhook_id>/",   "webhook hookpath",               "in Q - - - Q - -"),
    Line("webhooks/<uuid:webhook_id>/change/", "webhook hookpath",          "in Q - - - Q - -"),
    Line("webhooks/<uuid:webhook_id>/rotate/", "webhook",                   "in Q - - - Q - -"),
    Line("webhooks/<uuid:webhook_id>/delete/", "webhook",                   "in Q - - - Q - -"),
    Line("notifications/",                "title text",                     "in qy a at atr aql? aql? ."),
    Line("preferences/",                  "",                               "in . . . . . . ."),
    Line("help/",                         "",                               "in . . . . . . ."),
    Line("help/<slug:name>/",             "",                               "in . . . . . . ."),
    Line("news/",                         "",                               "in . . . . . . ."),
    Line("audit/",                        "slug",                           "in - - - - AQLV AQLV AQLV"),
    Line("catalog/",                      "asset publisher view",           "in qv a av a aql aql aql"),
    Line("catalog/compare/",              "",                               "in . . . . . . ."),
    Line("catalog/compare/?v=quokkaasset@1.0", "publisher",                 "in q - - - q q q"),
    Line("catalog/<str:slug>/",           "publisher summary",              "in q - - - q q q"),
    Line("catalog/<str:slug>/?tab=access", "granted",                       "in q? - - - q q q"),
    Line("catalog/<str:slug>/?tab=versions", "publisher",                   "in q? - - - q q q"),
    Line("catalog/<str:slug>/?tab=history", "publisher",                    "in q? - - - q? q? q?"),
    Line("catalog/<str:slug>/?tab=evidence", "publisher summary",           "in q? - - - q? q? q?"),
    Line("catalog/propose/",              "",                               "in . - . . . . -"),
    Line("catalog/<str:slug>/propose/",   "",                               "in . - - - . . -"),
    Line("catalog/<str:slug>/change/",    "publisher summary",              "in - - - - q q -"),
    Line("catalog/<str:slug>/versions/<str:version>/attach/", "",           "in - - - - . . -"),
    Line("catalog/<str:slug>/versions/<str:version>/discard/", "",          "in - - - - - - -"),
    Line("catalog/<str:slug>/versions/<str:version>/submit/", "",           "in - - - - - - -"),
    Line("catalog/<str:slug>/versions/<str:version>/deprecate/", "asset",   "in - - - - al al -"),  # successors
    Line("catalog/<str:slug>/versions/<str:version>/retire/", "",           "in - - - - - - -"),
    Line("catalog/<str:slug>/versions/<str:version>/block/", "",            "in - - - - . . -"),  # nothing runs it
    Line("catalog/<str:slug>/used/",      "publisher summary",              "in q? - - - q? q? q?"),  # nothing runs it
    Line("catalog/<str:slug>/versions/<str:version>/evidence/", "",         "in . - - - . . ."),
    Line("catalog/<str:slug>/versions/<str:version>/evidence/<str:report>/", "", "in . - - - . . ."),
    Line("catalog/<str:slug>/versions/<str:version>/files/", "",            "in - - - - - - -"),
    Line("catalog/<str:slug>/versions/<str:version>/ml-bom/", "publisher",  "in q - - - q q q"),
    Line("catalog/<str:slug>/grants/<str:kind>/<int:grant_id>/end/", "",    "in - - - - q q -"),
    Line("usage/",                        "failed costcentre team",         "in q a a a aql aql aql"),
    Line("usage/?group_by=key",           "key person",                     "in q a a a aql aql aql"),
    Line("usage/?group_by=person",        "person",                         "in q a a a aql aql aql"),
    Line("usage/?group_by=project",       "slug",                           "in q a a a aql aql aql"),
    Line("usage/?format=csv",             "failed slug costcentre",         "in q a a a aql aql aql"),
    Line("usage/?format=series",          "slug failed",                    "in q a a a aql aql aql"),
    Line("capacity/",                     "slug endpoint queued",           "in q a a a aql aql aql"),
    Line("capacity/<slug:pool>/shares/",  "slug",                           "in - - - - aql - -"),
    Line("rogue/",                        "",                               "in . . . . . . ."),
    Line("rogue/<int:rogue_id>/",         "",                               "in - - - - - - -"),  # nothing was scanned
    Line("rogue/<int:rogue_id>/adopt/",   "",                               "in - - - - - - -"),
    Line("import/",                       "",                               "in - - - - . . ."),
    Line("import/<int:proposal_id>/",     "",                               "in - - - - - - -"),
    Line("clusters/",                     "",                               "in - - - - . . ."),
    Line("clusters/new/",                 "",                               "in - - - - . - -"),
    Line("clusters/access/<slug:driver>/", "",                              "in - - - - . . ."),
    Line("clusters/<slug:cluster>/",      "slug endpoint",                  "in - - - - aql aql aql"),
    Line("clusters/<slug:cluster>/checks/", "",                             "in - - - - * * *"),
    Line("clusters/<slug:cluster>/change/", "",                             "in - - - - . - -"),
    Line("clusters/<slug:cluster>/rotate/", "",                             "in - - - - - - -"),  # it has no credential
    Line("clusters/<slug:cluster>/admission/", "",                          "in - - - - - - -"),  # nor a policy
    Line("clusters/<slug:cluster>/admission/manifest/", "",                 "in - - - - - - -"),
    Line("clusters/<slug:cluster>/pause/", "",                              "in - - - - . - -"),
    Line("clusters/<slug:cluster>/remove/", "",                             "in - - - - . - -"),
    Line("policies/",                     "",                               "in . . . . . . ."),
    Line("policies/rules/<str:rule_id>/", "",                               "in . . . . . . ."),
    Line("policies/draft/",               "",                               "in - - - - - . -"),
    Line("policies/draft/discard/",       "",                               "in - - - - - . -"),
    Line("policies/draft/publish/",       "",                               "in - - - - - . -"),
    Line("policies/previews/<int:preview_id>/", "endpoint waiting slug",    "in - - - - aql aql aql"),
    Line("policies/previews/<int:preview_id>/?format=csv", "endpoint waiting slug", "in - - - - aql aql aql"),
    Line("policies/publications/<int:publication>/roll-back/", "",          "in - - - - - . -"),
    Line("insights/",                     "",                               "in . . . . . . ."),
    Line("insights/calendar/",            "",                               "in . . . . . . ."),
    Line("endpoints/",                    "endpoint failed",                "in qv as asv as aql aql aql"),
    Line("endpoints/<uuid:endpoint_id>/", "slug endpoint person",           "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/", "slug endpoint",                  "in - s s s l l l", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/status/", "",                        "in * - - - * * *"),
    Line("endpoints/<uuid:endpoint_id>/status/", "",                        "in - . . . * * *", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/events/", "endpoint",                "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/events/", "endpoint",                "in - - - - l l l", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/events/cluster/", "endpoint",        "in q - - - q q q"),
    Line("environments/",                 "slug endpoint",                  "in q a a a aql aql aql"),
    Line("environments/?format=csv",      "slug endpoint",                  "in q a a a aql aql aql"),
    Line("endpoints/<uuid:endpoint_id>/drift/", "endpoint",                 "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/drift/", "endpoint",                 "in - - - - l l l", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/promote/", "",                       "in * - - - - - -"),
    Line("endpoints/<uuid:endpoint_id>/logs/", "endpoint",                  "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/manifests/", "endpoint",             "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/usage/", "endpoint",                 "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/usage/", "endpoint",                 "in - - - - l l l", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/revisions/", "endpoint",             "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/rules/", "endpoint",                 "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/rules/", "endpoint",                 "in - - - - l l l", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/revisions/<int:number>/rollback/", "", "in * - - - * - -"),
    Line("endpoints/<uuid:endpoint_id>/settings/", "endpoint person",       "in q - - - q q q"),
    Line("endpoints/<uuid:endpoint_id>/settings/", "share",                 "in - - - - al al al", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/shares/<int:share_id>/end/", "",     "in - - - - - - -", of="lemur"),
    Line("endpoints/<uuid:endpoint_id>/suspend/", "endpoint",               "in q - - - q - -"),
    Line("endpoints/<uuid:endpoint_id>/delete/", "endpoint",                "in q - - - q - -"),
    Line("requests/",                     "mine person",                    "in qvy a av ar aql aql aql"),  # the newest
    Line("requests/?size=100",            "waiting rejected draft person",  "in qvy a av ar aql aql aql"),
    Line("requests/new/",                 "slug asset",                     "in q - a a - - -"),
    Line("requests/new/?asset=common-model&version=2.0", "offer",                          "in qo - ao ao - - -"),
    Line("requests/new/?kind=quota",      "slug",                           "in q - a a - - -"),
    Line("requests/new/?kind=revision",   "slug endpoint",                  "in q - a a - - -"),
    Line("requests/new/?kind=renewal",    "slug endpoint",                  "in q - a a - - -"),
    Line("requests/new/?kind=access",     "",                               "in qo - ao ao - - -"),
    Line("requests/<int:pk>/",            "waiting purpose comment person", "in q - - - q q q"),
    Line("requests/<int:pk>/plan/",       "waiting purpose person",         "in q - - - q q q"),
    Line("requests/<int:pk>/replay/",     "person",                         "in q - - - q q q"),
    Line("requests/<int:pk>/yaml/",       "slug waiting purpose",           "in q - - - q q q"),
    Line("requests/import/",              "",                               "in . - . . - - -"),
    Line("requests/<int:pk>/edit/",       "mine",                           "in qo - - - - - -"),
    Line("requests/new/?kind=waiver",     "endpoint",                       "in q - a a . . -"),
    Line("waivers/",                      "exempt control",                 "in q a a a aql aql aql"),
    Line("waivers/<int:waiver_id>/",      "exempt control need person",     "in q - - - q q q"),
    Line("findings/",                     "",                               "in q a a a aql aql aql"),
    Line("requests/<int:pk>/assign/",     "waiting",                        "in - - - - q q -"),
    Line("approvals/delegations/",        "",                               "in . . . . . . ."),
    Line("approvals/rules/",              "",                               "in - - - - . . ."),
    Line("approvals/rules/sample/",       "",                               "in - - - - aql aql -"),
    Line("approvals/rules/<str:rule>/",   "",                               "in - - - - aql aql aql"),
    Line("approvals/rules/<str:rule>/on/", "",                              "in - - - - - aql -"),
    Line("approvals/",                    "waiting person",                 "in . - - r aql aql -"),
    Line("approvals/<int:pk>/",           "waiting purpose comment",        "in - - - - aql aql -"),
    Line("approvals/by-mail/<str:token>/", "waiting purpose",               "in - - - - q - -"),
    Line("approvals/<int:pk>/",           "access",    "in - - - r aql aql -", of="lemur", request="access"),
]
# Lists as a file, with every column.
CSV_LINES = [
    Line("people/",                       "person fullname",                "in - - - - aql aql aql"),
    Line("access/reviews/<int:review_id>/", "person key",                   "in q - - - q q q"),
    Line("projects/",                     "slug name costcentre team",      "in q a a a aql aql aql"),
    Line("projects/<slug:slug>/keys/",    "key person endpoint",            "in q - - - q q q"),
    Line("webhooks/<uuid:webhook_id>/",   "",                               "in . - - - . - -"),
    Line("notifications/",                "title text slug",                "in qy a at atr aql? aql? ."),
    Line("audit/",                        "slug key webhook view",          "in - - - - AQLV AQLV AQLV"),
    Line("waivers/",                      "exempt control need",            "in q a a a aql aql aql"),
    Line("rogue/",                        "",                               "in . . . . . . ."),
    Line("findings/",                     "",                               "in q a a a aql aql aql"),
    Line("projects/<slug:slug>/applications/", "application",               "in q - - - q q q"),
    Line("applications/",                 "",                               "in - - - - . . ."),
    Line("catalog/",                      "asset publisher",                "in q a a a aql aql aql"),
    Line("environments/",                 "slug endpoint",                  "in q a a a aql aql aql"),
    Line("endpoints/",                    "slug endpoint failed person",    "in q as as as aql aql aql"),
    Line("requests/",                     "slug waiting draft person",      "in qy a a ar aql aql aql"),
    Line("approvals/",                    "waiting person",                 "in . - - r aql aql -"),
]
#    a card of the first page             shows                             nobody cy vic dana omar pat yasmine aud
CARD_LINES = [
    Line("queue",                         "waiting person",                 "in - - - - aql aql -"),
    Line("broken",                        "failed",                         "in - - - - aql - -"),
    Line("blocked",                       "blocked",                        "in - - - - - aql aql"),
    Line("failing",                       "",                               "in q - - a - aql aql"),
    Line("waivers",                       "exempt slug",                    "in q - - a - aql aql"),
    Line("rogues",                        "",                               "in - - - - . . -"),
    Line("requests",                      "mine",                           "in q - a . - - -"),
    Line("endpoints",                     "endpoint failed slug",           "in q a a a - - -"),
    Line("steps",                         "",                               "in * * * * * * *"),
    Line("pools",                         "endpoint",                       "in - - - - aql - -"),
    Line("assets",                        "asset",                          "in - - - - - aql -"),
    Line("due",                           "failed slug",                    "in q - a a - aql -"),
    Line("seal",                          "",                               "in - - - - - . ."),
    Line("decisions",                     "reason rejection",               "in - - - - - - *"),
    Line("log",                           "",                               "in - - - - - - *"),
    Line("tokens",                        "slug",                           "in q a a a - - -"),
    Line("gpus",                          "slug",                           "in q - - a - - -"),
    Line("newest",                        "asset",                          "in q a a a aql aql -"),
    Line("chart",                         "",                               "in . . . . - - -"),
]
#    words that somebody searches for     what is found                     nobody cy vic dana omar pat yasmine aud
SEARCH_LINES = [
    Line("slug",                          "endpoint waiting",               "in qy . . . qy qy qy"),
    Line("name",                          "slug",                           "in q . . . q q q"),
    Line("person",                        "fullname slug",                  "in qy . . . qy qy qy"),
    Line("costcentre",                    "name",                           "in q . . . q q q"),
    Line("team",                          "slug",                           "in q . . . q q q"),
    Line("endpoint",                      "slug",                           "in q . . . q q q"),
    Line("waiting",                       "slug",                           "in q . . . q q q"),
    Line("asset",                         "publisher",                      "in q . . . q q q"),
    Line("publisher",                     "asset",                          "in q . . . q q q"),
    Line("purpose",                       "",                               "in . . . . . . ."),
    Line("key",                           "",                               "in . . . . . . ."),
    Line("endpoint",                      "slug",                           "in . s s s l l l", of="lemur"),
    Line("person",                        "",                               "in . . . r lo lo lo", of="lemur"),
]
#    many at once, with hidden ids        results                           nobody cy vic dana omar pat yasmine aud
BULK_LINES = [
    Line("endpoints/bulk/",               "",                               "in * - . . * - -",
         form=lambda zoo: {"action": "suspend", "confirm": "suspend 1"} | _id(quokka(zoo).endpoints["endpoint"])),
    Line("endpoints/bulk/",               "",                               "in * - . . * - -",
         form=lambda zoo: {"action": "suspend"} | _id(quokka(zoo).endpoints["endpoint"])),
    Line("requests/bulk/",                "",                               "in * . . . * * *",
         form=lambda zoo: {"action": "withdraw"} | _id(quokka(zoo).requests["waiting"])),
    Line("approvals/bulk/",               "",                               "in * - - . * * -",
         form=lambda zoo: {"action": "reject", "reason": "No."} | _id(quokka(zoo).requests["waiting"])),
    Line("projects/<slug:slug>/keys/bulk/", "",                             "in - - a a a - -", of="alpaca",
         form=lambda zoo: {"action": "revoke", "confirm": "revoke 1"} | _id(quokka(zoo).key)),
]
# fmt: on
# fmt: off
#    GET of                               shows      nobody noscope cy vic dana omar pat yasmine aud robot key bound
API_LINES = [
    Line("/me",                           "slug name",              "- . q a a a . . . a a ."),
    Line("/projects",                     "slug name description costcentre team", "- aql q a a a aql aql aql a a a"),
    Line("/projects/{slug}",              "slug costcentre",        "- q q - - - q q q - - -"),
    Line("/projects/{slug}/members",      "person fullname",        "- q q - - - q q q - - -"),
    Line("/notifications",                "title text slug",        "- aql? qy a at atr aql? aql? . . a? a?"),
    Line("/webhooks",                     "webhook hookpath",       "- - Q . . A AQL . . . - A"),
    Line("/webhooks/{webhook_id}",        "webhook hookpath",       "- - Q - - - Q - - - - -"),
    Line("/webhooks/{webhook_id}/deliveries", "title text", "- - Qy - - - Qy - - - - -"),
    Line("/audit?limit=200",              "slug",                   "- - - - - - AQLV AQLV AQLV - - -"),
    Line("/audit?project=quokkaslug",     "slug webhook",           "- - - - - - Q Q Q - - -"),
    Line("/audit/export",                 "slug webhook key view",  "- - - - - - AQLV AQLV AQLV - - -"),
    Line("/catalog/assets",               "asset publisher summary", "- - q a a a aql aql aql a a ."),
    Line("/catalog/assets/{slug}",        "publisher",              "- - q - - - q q q - - -"),
    Line("/catalog/assets/{slug}/versions/{version}", "",           "- - q - - - q q q - - -"),
    Line("/catalog/assets/{slug}/versions/{version}/ml-bom", "publisher", "- - q - - - q q q - - -"),
    Line("/catalog/assets/{slug}/versions/{version}/jobs", "",      "- - . - - - . . . - - -"),
    Line("/catalog/assets/{slug}/versions/{version}/attachments", "", "- - . - - - . . . - - -"),
    Line("/catalog/export",               "asset summary",          "- - q a a a aql aql aql a a ."),
    Line("/catalog/assets/{slug}/grants", "granted",                "- - q - - - q q q - - -"),
    Line("/hardware-profiles",            "",                       "- - . . . . . . . . . ."),
    Line("/pools",                        "slug",                   "- - q a a a aql aql aql a a a"),
    Line("/pools/{slug}",                 "slug",                   "- - q a a a aql aql aql a a a"),
    Line("/usage?group_by=project,endpoint,key,person", "slug failed person", "- - q a a a aql aql aql a - a"),
    Line("/usage?group_by=endpoint,key,person&format=csv", "failed person", "- - q a a a aql aql aql a - a"),
    Line("/policies?files=true",          "",                       "- - . . . . . . . . - ."),
    Line("/policies/previews/{preview_id}", "endpoint waiting slug", "- - - - - - aql aql aql - - -"),
    Line("/delegations",                  "",                        "- - . . . . . . . . . ."),
    Line("/waivers",                      "control need",    "- - q a a a aql aql aql a a a"),
    Line("/waivers/{waiver_id}",          "control need person",    "- - q - - - q q q - - -"),
    Line("/insights/rogue",               "",                       "- - . . . . . . . . . ."),
    Line("/insights/rogue/{rogue_id}",    "",                       "- - - - - - - - - - - -"),
    Line("/insights/idle",                "slug endpoint",          "- - q a a a aql aql aql a - a"),
    Line("/insights/lead-time",           "",                       "- - . . . . . . . . . ."),
    Line("/projects/{slug}/quotas",       "endpoint",               "- - q - - - q q q - - -"),
    Line("/projects/{slug}/limits",       "",                       "- - q - - - q q q - - -"),
    Line("/endpoints",                    "slug endpoint failed purpose person", "- - q as as as aql aql aql as as a"),
    Line("/endpoints/{endpoint_id}",      "slug endpoint purpose person", "- - q - - - q q q - - -"),
    Line("/endpoints/{endpoint_id}",      "slug endpoint",          "- - - s s s l l l s s -", of="lemur"),
    Line("/endpoints/{endpoint_id}/events", "",                     "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/events", "",                     "- - - - - - al al al - - -", of="lemur"),
    Line("/insights/drift",               "",                       "- - . . . . . . . . . ."),
    Line("/endpoints/{endpoint_id}/drift", "",                      "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/revisions", "",                  "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/canary", "",                     "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/logs", "",                       "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/manifests", "",                  "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/alerts", "",                     "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/shares", "",                     "- - . - - - . . . - - -"),
    Line("/endpoints/{endpoint_id}/shares", "share",                "- - - - - - al al al - - -", of="lemur"),
    Line("/access?project=quokkaslug",    "person",                 "- - q - - - q q q - - -"),
    Line("/access?user=quokkaperson",     "slug",                   "- - q - - - q q q - - -"),
    Line("/access/reviews",               "campaign",               "- - q . . a aql aql aql . - ."),
    Line("/access/reviews/{review_id}/entries", "person key",       "- - q - - - q q q - - -"),
    Line("/projects/{slug}/applications", "application about",      "- - q - - - q q q - - -"),
    Line("/projects/{slug}/applications/{application_id}", "about", "- - q - - - q q q - - -"),
    Line("/sso/mappings",                 "",                       "- - - - - - . . . - - -"),
    Line("/clusters",                     "",                       "- - . . . . . . . . . ."),
    Line("/clusters/{slug}",              "",                       "- - . . . . . . . . . ."),
    Line("/clusters/{slug}/health",       "",                       "- - - - - - . . . - - -"),
    Line("/clusters/{slug}/rbac",         "",                       "- - - - - - - - - - - -"),
    Line("/clusters/{slug}/admission",    "",                       "- - - - - - - - - - - -"),
    Line("/projects/{slug}/keys",         "key endpoint person",    "- - q - - - q q q - - -"),
    Line("/requests?limit=200",   "slug waiting purpose draft rejection", "- - qyo a a ar aql aql aql a a a"),
    Line("/requests?assigned=me&limit=200", "waiting",                "- - . . . r aql aql . . . a"),
    Line("/requests/{request_id}",        "slug waiting purpose",   "- - q - - - q q q - - -"),
    Line("/requests/{request_id}/timeline", "person comment",       "- - q - - - q q q - - -"),
    Line("/requests/{request_id}/replay", "person",                 "- - q - - - q q q - - -"),
]
# fmt: on
LISTS: dict[str, tuple[Listing, str]] = {
    "project_list": (PROJECTS, "projects/"),
    "audit_list": (AUDIT, "audit/"),
    "request_list": (REQUESTS, "requests/"),
    "approval_list": (QUEUE, "approvals/"),
    "catalog_list": (ASSETS, "catalog/"),
    "endpoint_list": (ENDPOINTS, "endpoints/"),
    "person_list": (PEOPLE, "people/"),
    "waiver_list": (WAIVERS, "waivers/"),
    "rogue_list": (ROGUES, "rogue/"),
    "environment_list": (MATRIX, "environments/"),
    "finding_list": (FINDINGS, "findings/"),
    "access_review": (ENTRIES, "access/reviews/<int:review_id>/"),
    "application_list": (PLATFORM_APPLICATIONS, "applications/"),
    "project_application_list": (PROJECT_APPLICATIONS, "projects/<slug:slug>/applications/"),
    "key_list": (KEYS, "projects/<slug:slug>/keys/"),
    "notification_list": (NOTIFICATIONS, "notifications/"),
    "webhook_detail": (DELIVERIES, "webhooks/<uuid:webhook_id>/"),
}
NO_PAGES = ("accounts/", "health/", "metrics", ".well-known/", "identity/", "sso/")  # they know no object of a project
