"""Routes of the registry that MCP clients read, below /mcp/."""

from django.urls import path

from catalog.views import registry

_PUBLIC, _PROJECT = "registry/v0.1/servers", "registry/<slug:project>/v0.1/servers"

urlpatterns = [
    path(f"{base}{tail}", view, name=f"{name}{suffix}")
    for base, suffix in ((_PUBLIC, ""), (_PROJECT, "_of_project"))
    for tail, view, name in (
        ("", registry.servers, "registry_servers"),
        ("/<path:name>/versions", registry.versions, "registry_versions"),
        ("/<path:name>/versions/<str:version>", registry.version, "registry_version"),
    )
]
urlpatterns += [
    path("registry/", registry.missing, name="registry_root"),
    path("registry/<path:rest>", registry.missing, name="registry_missing"),
]
