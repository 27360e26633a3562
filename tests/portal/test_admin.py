"""The back office is for looking."""

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory

from projects.models import User


@pytest.mark.django_db
def test_nobody_writes_in_the_back_office_not_even_a_superuser(client: Client, settings) -> None:
    root = User.objects.create_superuser("root", password="a long enough one")
    client.force_login(root)
    assert client.get(f"/{settings.ADMIN_PATH}/").status_code == 200
    request = RequestFactory().get("/")
    request.user = root
    assert len(admin.site._registry) > 20
    for model, page in admin.site._registry.items():
        allowed = (
            page.has_add_permission(request),
            page.has_change_permission(request),
            page.has_delete_permission(request),
        )
        assert not any(allowed), model
        assert page.has_view_permission(request), model
