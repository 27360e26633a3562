"""Routes of the OAuth provider, under the names by which allauth looks for them, and of the applications."""

from django.urls import include, path

from projects.oauth import endpoints, my_views, pages, views

_protocol = [
    path(".well-known/openid-configuration", endpoints.configuration, name="configuration"),
    path(".well-known/jwks.json", endpoints.jwks, name="jwks"),
    path("identity/o/authorize", pages.authorize, name="authorization"),
    path("identity/o/device", pages.device, name="device_authorization"),
    path("identity/o/logout", pages.logout, name="logout"),
    path("identity/o/api/token", endpoints.token, name="token"),
    path("identity/o/api/revoke", endpoints.revoke, name="revoke"),
    path("identity/o/api/introspect", endpoints.introspect, name="introspect"),
    path("identity/o/api/device/code", endpoints.device_code, name="device_code"),
    path("identity/o/api/userinfo", endpoints.userinfo, name="userinfo"),
]
_provider = [path("", include((_protocol, "oidc")))]

urlpatterns = [
    path("", include((_provider, "idp"))),
    path("applications/", views.application_list, name="application_list"),
    path("applications/new/", views.application_create, name="application_create"),
    path("projects/<slug:slug>/applications/", views.application_list, name="project_application_list"),
    path("projects/<slug:slug>/applications/new/", views.application_create, name="project_application_create"),
    path("applications/<uuid:application_id>/", views.application_detail, name="application_detail"),
    path("applications/<uuid:application_id>/change/", views.application_change, name="application_change"),
    path("applications/<uuid:application_id>/rotate/", views.application_rotate, name="application_rotate"),
    path("applications/<uuid:application_id>/end/", views.application_end, name="application_end"),
    path("account/applications/", my_views.my_applications, name="my_applications"),
    path("account/applications/revoke/", my_views.my_application_revoke, name="my_application_revoke"),
]
