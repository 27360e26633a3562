"""Routes of the catalog's pages."""

from django.urls import path

from catalog.views import access, change, compare, detail, evidence, life, lists, propose, servers

_version = "catalog/<str:slug>/versions/<str:version>/"

urlpatterns = [
    path("catalog/", lists.catalog_list, name="catalog_list"),
    path("catalog/compare/", compare.catalog_compare, name="catalog_compare"),  # before the assets: none has that name
    path("catalog/propose/", propose.catalog_propose, name="catalog_propose"),  # nor this one
    path("catalog/<str:slug>/change/", change.catalog_change, name="catalog_change"),
    path("catalog/<str:slug>/propose/", propose.catalog_propose_version, name="catalog_propose_version"),
    path(f"{_version}attach/", propose.catalog_attach, name="catalog_attach"),
    path(f"{_version}deprecate/", life.catalog_deprecate, name="catalog_deprecate"),
    path(f"{_version}retire/", life.catalog_retire, name="catalog_retire"),
    path("catalog/<str:slug>/", detail.catalog_detail, name="catalog_detail"),
    path(f"{_version}collect/", evidence.catalog_collect, name="catalog_collect"),
    path(f"{_version}evidence/", evidence.catalog_reports, name="catalog_reports"),
    path(f"{_version}evidence/<str:report>/", evidence.catalog_report, name="catalog_report"),
    path(f"{_version}files/", evidence.catalog_files, name="catalog_files"),
    path(f"{_version}ml-bom/", evidence.catalog_ml_bom, name="catalog_ml_bom"),
    path("catalog/<str:slug>/registry/", servers.catalog_registry, name="catalog_registry"),
    path("projects/<slug:slug>/mcp/", servers.server_list, name="server_list"),
    path("projects/<slug:slug>/mcp/<int:server_grant_id>/end/", servers.server_end, name="server_end"),
    path("catalog/<str:slug>/access/", access.catalog_access, name="catalog_access"),
    path("catalog/<str:slug>/grants/", access.catalog_grant, name="catalog_grant"),
    path("catalog/<str:slug>/grants/<str:kind>/<int:grant_id>/end/", access.catalog_revoke, name="catalog_revoke"),
]
