"""Routes of the catalog's pages."""

from django.urls import path

from catalog.views import access, compare, detail, lists

urlpatterns = [
    path("catalog/", lists.catalog_list, name="catalog_list"),
    path("catalog/compare/", compare.catalog_compare, name="catalog_compare"),  # before the assets: none has that name
    path("catalog/<str:slug>/", detail.catalog_detail, name="catalog_detail"),
    path("catalog/<str:slug>/access/", access.catalog_access, name="catalog_access"),
    path("catalog/<str:slug>/grants/", access.catalog_grant, name="catalog_grant"),
    path("catalog/<str:slug>/grants/<str:kind>/<int:grant_id>/end/", access.catalog_revoke, name="catalog_revoke"),
]
