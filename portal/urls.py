"""All routes. The API authenticates by token and is therefore exempt from the login of pages."""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from portal import health, search
from portal import help as help_pages
from portal.admin import make_read_only
from portal.api import api, not_found, public
from portal.home import views as home

make_read_only(admin.site)
# One door: the back office's own sign-in would know neither lockout nor second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
_api = path("api/v1/", api.urls)
public(_api)

urlpatterns = [
    path("", home.home, name="home"),
    path("home/<str:card>/", home.home_card, name="home_card"),
    path("search/", search.search, name="search"),
    path("help/", help_pages.help_index, name="help"),
    path("help/<slug:name>/", help_pages.help_page, name="help_page"),
    path("news/", help_pages.news, name="news"),
    path("news/read/", help_pages.news_read, name="news_read"),
    path("", include("projects.urls")),
    path("", include("projects.notify.urls")),
    path("", include("catalog.urls")),
    path("mcp/", include("catalog.mcp.urls")),
    path("", include("quotas.urls")),
    path("", include("endpoints.urls")),
    path("", include("approvals.urls")),
    path("health/live", health.live, name="health_live"),
    path("health/ready", health.ready, name="health_ready"),
    path("metrics", health.metrics, name="metrics"),
    _api,
    re_path(r"^api/(?P<rest>.*)$", not_found),
    path("", include("projects.sso.urls")),
    path("accounts/", include("allauth.urls")),
    path("", include("projects.oauth.urls")),
    path(f"{settings.ADMIN_PATH}/", admin.site.urls),
]

handler400 = "portal.views.bad_request"
handler403 = "portal.views.forbidden"
handler404 = "portal.views.missing"
handler500 = "portal.views.mistake"
