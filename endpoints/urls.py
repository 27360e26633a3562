"""Routes of endpoints and keys."""

from django.urls import path

from endpoints.views import (
    actions,
    blocking,
    capacity,
    cluster_actions,
    cluster_forms,
    clusters,
    detail,
    history,
    key_lists,
    key_revocation,
    keys,
    limits,
    lists,
    revisions,
    settings,
    usage,
    used,
)

_one = "endpoints/<uuid:endpoint_id>/"
_keys = "projects/<slug:slug>/keys/"
_cluster = "clusters/<slug:cluster>/"

urlpatterns = [
    path("catalog/<str:slug>/versions/<str:version>/block/", blocking.catalog_block, name="catalog_block"),
    path("capacity/", capacity.capacity, name="capacity"),
    path("clusters/", clusters.cluster_list, name="cluster_list"),
    path("clusters/new/", cluster_forms.cluster_create, name="cluster_create"),
    path("clusters/access/<slug:driver>/", clusters.cluster_manifest, name="cluster_manifest"),
    path(_cluster, clusters.cluster_detail, name="cluster_detail"),
    path(f"{_cluster}checks/", clusters.cluster_checks, name="cluster_checks"),
    path(f"{_cluster}test/", clusters.cluster_test, name="cluster_test"),
    path(f"{_cluster}change/", cluster_forms.cluster_change, name="cluster_change"),
    path(f"{_cluster}rotate/", cluster_forms.cluster_rotate, name="cluster_rotate"),
    path(f"{_cluster}pause/", cluster_actions.cluster_pause, name="cluster_pause"),
    path(f"{_cluster}resume/", cluster_actions.cluster_resume, name="cluster_resume"),
    path(f"{_cluster}remove/", cluster_actions.cluster_remove, name="cluster_remove"),
    path("catalog/<str:slug>/used/", used.catalog_used, name="catalog_used"),  # here: the catalog knows no endpoints
    path("endpoints/", lists.endpoint_list, name="endpoint_list"),
    path("endpoints/bulk/", lists.endpoint_bulk, name="endpoint_bulk"),
    path(_one, detail.endpoint_detail, name="endpoint_detail"),
    path(f"{_one}status/", detail.endpoint_status, name="endpoint_status"),
    path(f"{_one}usage/", usage.endpoint_usage, name="endpoint_usage"),
    path(f"{_one}revisions/", revisions.endpoint_revisions, name="endpoint_revisions"),
    path(f"{_one}revisions/<int:number>/rollback/", revisions.endpoint_rollback, name="endpoint_rollback"),
    path(f"{_one}events/", history.endpoint_events, name="endpoint_events"),
    path(f"{_one}logs/", history.endpoint_logs, name="endpoint_logs"),
    path(f"{_one}settings/", settings.endpoint_settings, name="endpoint_settings"),
    path(f"{_one}scale/", settings.endpoint_scale, name="endpoint_scale"),
    path(f"{_one}transfer/", settings.endpoint_transfer, name="endpoint_transfer"),
    path(f"{_one}shareable/", settings.endpoint_shareable, name="endpoint_shareable"),
    path(f"{_one}shares/", settings.endpoint_share, name="endpoint_share"),
    path(f"{_one}shares/<int:share_id>/end/", settings.endpoint_unshare, name="endpoint_unshare"),
    path(f"{_one}suspend/", actions.endpoint_suspend, name="endpoint_suspend"),
    path(f"{_one}resume/", actions.endpoint_resume, name="endpoint_resume"),
    path(f"{_one}retry/", actions.endpoint_retry, name="endpoint_retry"),
    path(f"{_one}suggest/", capacity.endpoint_suggest, name="endpoint_suggest"),
    path(f"{_one}delete/", actions.endpoint_delete, name="endpoint_delete"),
    path(f"{_one}playground-key/", actions.endpoint_playground_key, name="endpoint_playground_key"),
    path("projects/<slug:slug>/limits/", limits.limits, name="limits"),
    path("keys/revoke/", key_revocation.keys_revoke, name="keys_revoke"),
    path(_keys, key_lists.key_list, name="key_list"),
    path(f"{_keys}bulk/", key_lists.key_bulk, name="key_bulk"),
    path(f"{_keys}new/", keys.key_create, name="key_create"),
    path(f"{_keys}<uuid:key_id>/rotate/", keys.key_rotate, name="key_rotate"),
    path(f"{_keys}<uuid:key_id>/revoke/", keys.key_revoke, name="key_revoke"),
]
