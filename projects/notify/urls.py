"""Routes of notifications, preferences and webhooks."""

from django.urls import path

from projects.notify import views, webhook_views

_hook = "webhooks/<uuid:webhook_id>/"

urlpatterns = [
    path("notifications/", views.notification_list, name="notification_list"),
    path("notifications/read/", views.notification_read, name="notification_read"),
    path("notifications/<int:notification_id>/open/", views.notification_open, name="notification_open"),
    path("preferences/", views.preference_page, name="preferences"),
    path("webhooks/", webhook_views.webhook_list, name="webhook_list"),
    path("webhooks/new/", webhook_views.webhook_create, name="webhook_create"),
    path("projects/<slug:slug>/webhooks/", webhook_views.webhook_list, name="project_webhook_list"),
    path("projects/<slug:slug>/webhooks/new/", webhook_views.webhook_create, name="project_webhook_create"),
    path(_hook, webhook_views.webhook_detail, name="webhook_detail"),
    path(f"{_hook}change/", webhook_views.webhook_change, name="webhook_change"),
    path(f"{_hook}test/", webhook_views.webhook_test, name="webhook_test"),
    path(f"{_hook}replay/", webhook_views.webhook_replay, name="webhook_replay"),
    path(f"{_hook}rotate/", webhook_views.webhook_rotate, name="webhook_rotate"),
    path(f"{_hook}delete/", webhook_views.webhook_delete, name="webhook_delete"),
]
