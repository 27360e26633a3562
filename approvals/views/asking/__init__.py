"""The forms: one class per kind of request."""

from collections.abc import Mapping

from approvals.views.asking.access import AccessForm
from approvals.views.asking.admission import AdmissionForm
from approvals.views.asking.base import BEGUN, KindForm
from approvals.views.asking.endpoint import EndpointForm
from approvals.views.asking.mcp_access import McpAccessForm
from approvals.views.asking.quota import QuotaForm
from approvals.views.asking.renewal import RenewalForm
from approvals.views.asking.revision import RevisionForm
from approvals.views.asking.waiver import WaiverForm

__all__ = ["BEGUN", "FORMS", "EndpointForm", "KindForm"]

FORMS: Mapping[str, type[KindForm]] = {
    form.KIND: form
    for form in (
        EndpointForm,
        RevisionForm,
        RenewalForm,
        AccessForm,
        McpAccessForm,
        QuotaForm,
        AdmissionForm,
        WaiverForm,
    )
}
