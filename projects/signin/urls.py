"""Routes of the account. Those under accounts/ stand before allauth's of the same name and replace them."""

from django.urls import path

from projects.signin import views

urlpatterns = [
    path("account/", views.account, name="account"),
    path("accounts/login/", views.login, name="account_login"),
    path("accounts/sessions/", views.session_list, name="usersessions_list"),
    path("accounts/sessions/<int:session_id>/end/", views.session_end, name="session_end"),
    path("accounts/2fa/", views.factor_list, name="mfa_index"),
    path("accounts/2fa/webauthn/reauthenticate/", views.prove_by_key, name="mfa_reauthenticate_webauthn"),
    path("accounts/2fa/reauthenticate/", views.prove_by_code, name="mfa_reauthenticate"),
    path("accounts/2fa/webauthn/keys/<int:pk>/remove/", views.remove_key, name="mfa_remove_webauthn"),
    path("accounts/reauthenticate/", views.prove_by_password, name="account_reauthenticate"),
    path("accounts/email/", views.address, name="account_email"),
    path("accounts/password/set/", views.no_password, name="account_set_password"),
    path("accounts/password/reset/", views.password_reset, name="account_reset_password"),
]
