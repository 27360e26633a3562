"""Routes of projects."""

from django.urls import include, path

from projects import lists, people_views, preset_views, views

urlpatterns = [
    path("projects/", lists.project_list, name="project_list"),
    path("projects/switch/", views.switch_project, name="switch_project"),
    path("projects/<slug:slug>/", views.project_detail, name="project_detail"),
    path("projects/<slug:slug>/remove/", views.remove_member, name="project_remove_member"),
    path("people/", people_views.person_list, name="person_list"),
    path("groups/", people_views.group_list, name="group_list"),
    path("groups/<int:group_id>/delete/", people_views.group_delete, name="group_delete"),
    path("people/<str:username>/", people_views.person_detail, name="person_detail"),
    path("people/<str:username>/end-sessions/", people_views.end_sessions, name="person_end_sessions"),
    path("presets/", preset_views.preset_list, name="preset_list"),
    path("presets/new/", preset_views.preset_create, name="preset_create"),
    path("presets/<slug:preset>/", preset_views.preset_detail, name="preset_detail"),
    path("presets/<slug:preset>/restore/", preset_views.preset_restore, name="preset_restore"),
    path("presets/<slug:preset>/delete/", preset_views.preset_delete, name="preset_delete"),
    path("theme/", views.set_theme, name="set_theme"),
    path("views/save/", lists.view_save, name="view_save"),
    path("views/<int:view_id>/delete/", lists.view_delete, name="view_delete"),
    path("audit/", lists.audit_list, name="audit_list"),
    path("", include("projects.signin.urls")),
]
