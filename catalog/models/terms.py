"""Who has acknowledged the terms of a licence, for which project."""

from django.db import models

from projects.models import Project, User


class Acknowledgement(models.Model):
    """Somebody read the terms of a licence and acknowledged them for a project; before that it gets no key."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="acknowledgements")
    licence = models.CharField(max_length=80)  # one SPDX key, not an expression
    terms = models.CharField(max_length=80)  # sha256:… of the words that were shown
    person = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "licence", "terms"], name="one_acknowledgement_per_terms")
        ]

    def __str__(self) -> str:
        return f"{self.licence} for {self.project_id}"
