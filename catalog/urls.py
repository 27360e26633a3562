"""Routes of the catalog's pages."""

from django.urls import path

from catalog import views

urlpatterns = [
    path("catalog/", views.catalog_list, name="catalog_list"),
    path("catalog/<str:slug>/", views.catalog_detail, name="catalog_detail"),
]
