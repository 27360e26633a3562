"""Approval by rule: envelopes of the policy bundle, in shadow until governance lets them decide."""

from approvals.envelopes.submitting import submitted

__all__ = ["submitted"]
