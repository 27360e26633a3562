"""Routes of requests and of the approval queue."""

from django.urls import path

from approvals.access import leaving_views, review_views
from approvals.access import views as access
from approvals.views import admissions, forms, insights, lists, queue, requests

urlpatterns = [
    path("requests/", lists.request_list, name="request_list"),
    path("requests/bulk/", lists.request_bulk, name="request_bulk"),
    path("requests/new/", forms.request_new, name="request_new"),
    path("requests/<int:pk>/", requests.request_detail, name="request_detail"),
    path("requests/<int:pk>/edit/", forms.request_edit, name="request_edit"),
    path("requests/<int:pk>/withdraw/", requests.request_withdraw, name="request_withdraw"),
    path("requests/<int:pk>/comment/", requests.request_comment, name="request_comment"),
    path("catalog/<str:slug>/versions/<str:version>/discard/", admissions.catalog_discard, name="catalog_discard"),
    path("catalog/<str:slug>/versions/<str:version>/submit/", admissions.catalog_submit, name="catalog_submit"),
    path("approvals/", queue.approval_list, name="approval_list"),
    path("approvals/bulk/", queue.approval_bulk, name="approval_bulk"),
    path("approvals/<int:pk>/", queue.approval_detail, name="approval_detail"),
    path("approvals/<int:pk>/approve/", queue.approve, name="approval_approve"),
    path("approvals/<int:pk>/reject/", queue.reject, name="approval_reject"),
    path("approvals/<int:pk>/request-changes/", queue.request_changes, name="approval_request_changes"),
    path("access/", access.access, name="access"),
    path("access/why/", access.access_why, name="access_why"),
    path("access/reviews/", review_views.review_list, name="access_review_list"),
    path("access/reviews/<int:review_id>/", review_views.access_review, name="access_review"),
    path("access/reviews/<int:review_id>/answer/", review_views.access_review_bulk, name="access_review_bulk"),
    path("access/reviews/<int:review_id>/close/", review_views.access_review_close, name="access_review_close"),
    path("people/<str:username>/leave/", leaving_views.person_leave, name="person_leave"),
    path("insights/", insights.insight_page, name="insights"),
]
