"""Routes of single sign-on. They stand before allauth's own: login and callback are the portal's, linking is closed."""

from django.urls import path

from projects.sso import backchannel, mapping_views, views

urlpatterns = [
    path("accounts/oidc/<slug:provider_id>/login/", views.login, name="openid_connect_login"),
    path("accounts/oidc/<slug:provider_id>/login/callback/", views.callback, name="openid_connect_callback"),
    path("accounts/3rdparty/", views.closed, name="socialaccount_connections"),
    path("accounts/3rdparty/signup/", views.closed, name="socialaccount_signup"),
    path("sso/no-group/", views.sso_no_group, name="sso_no_group"),
    path("sso/<slug:provider_id>/prove/", views.sso_prove, name="sso_prove"),
    path(
        "sso/<slug:provider_id>/backchannel-logout/",
        backchannel.backchannel_logout,
        name="sso_backchannel_logout",
    ),
    path("access/mappings/", mapping_views.group_mapping_list, name="group_mapping_list"),
    path("access/mappings/<int:mapping_id>/change/", mapping_views.group_mapping_change, name="group_mapping_change"),
    path("access/mappings/<int:mapping_id>/delete/", mapping_views.group_mapping_delete, name="group_mapping_delete"),
]
