"""Routes of quotas."""

from django.urls import path

from quotas import share_views, views

urlpatterns = [
    path("usage/", views.usage, name="usage"),
    path("capacity/<slug:pool>/shares/", share_views.pool_shares, name="pool_shares"),
]
