"""Routes of the catalog's pages."""

from django.urls import path

from catalog.views import compare, detail, lists

urlpatterns = [
    path("catalog/", lists.catalog_list, name="catalog_list"),
    path("catalog/compare/", compare.catalog_compare, name="catalog_compare"),  # before the assets: none has that name
    path("catalog/<str:slug>/", detail.catalog_detail, name="catalog_detail"),
]
