"""Exceptions from a rule: asked for like everything else, granted by somebody else, counted until a day."""

from approvals.waivers.services import carry

__all__ = ["carry"]
