"""Routes of projects."""

from django.urls import path

from projects import views

urlpatterns = [
    path("projects/", views.project_list, name="project_list"),
    path("projects/switch/", views.switch_project, name="switch_project"),
    path("projects/<slug:slug>/", views.project_detail, name="project_detail"),
    path("projects/<slug:slug>/remove/", views.remove_member, name="project_remove_member"),
    path("theme/", views.set_theme, name="set_theme"),
    path("audit/", views.audit_list, name="audit_list"),
]
