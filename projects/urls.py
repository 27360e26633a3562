"""Routes of projects."""

from django.urls import path

from projects import lists, views

urlpatterns = [
    path("projects/", lists.project_list, name="project_list"),
    path("projects/switch/", views.switch_project, name="switch_project"),
    path("projects/<slug:slug>/", views.project_detail, name="project_detail"),
    path("projects/<slug:slug>/remove/", views.remove_member, name="project_remove_member"),
    path("theme/", views.set_theme, name="set_theme"),
    path("views/save/", lists.view_save, name="view_save"),
    path("views/<int:view_id>/delete/", lists.view_delete, name="view_delete"),
    path("audit/", lists.audit_list, name="audit_list"),
]
