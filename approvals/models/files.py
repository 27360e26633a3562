"""Requests as code: which request a file of a repository stands for."""

from django.db import models

from approvals.models.requests import Request
from projects.models import User


class RequestFile(models.Model):
    """The `metadata.name` of a file that somebody applies, and the request that came of it."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="request_files")
    name = models.CharField(max_length=40)
    request = models.ForeignKey(Request, on_delete=models.CASCADE, related_name="files")
    at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["person", "name"], name="one_request_per_file")]

    def __str__(self) -> str:
        return self.name
