"""What the app owns, by concern."""

from approvals.models.envelopes import EnvelopeMode, Mode, Reading, Verdict
from approvals.models.files import RequestFile
from approvals.models.objective import Calendar
from approvals.models.policies import Bundle, PolicyDraft, Preview, PreviewState, Publication
from approvals.models.requests import (
    Choice,
    Comment,
    DataClassification,
    Decision,
    Request,
    RequestKind,
    RequestState,
    kept_once_sent,
)
from approvals.models.reviews import AccessReview, AccessReviewItem, Outcome, ReviewState
from approvals.models.stages import Delegation, Stage, StageState, Submission
from approvals.models.waivers import Finding, Waiver, WaiverState

__all__ = [
    "AccessReview",
    "AccessReviewItem",
    "Bundle",
    "Calendar",
    "Choice",
    "Comment",
    "DataClassification",
    "Decision",
    "Delegation",
    "EnvelopeMode",
    "Finding",
    "Mode",
    "Outcome",
    "PolicyDraft",
    "Preview",
    "PreviewState",
    "Publication",
    "Reading",
    "Request",
    "RequestFile",
    "RequestKind",
    "RequestState",
    "ReviewState",
    "Stage",
    "StageState",
    "Submission",
    "Verdict",
    "Waiver",
    "WaiverState",
    "kept_once_sent",
]
