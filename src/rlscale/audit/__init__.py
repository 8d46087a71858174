"""The audit: is every result still what its record says, made by this code from these bytes."""

from rlscale.audit.checks import audit_study
from rlscale.audit.verdicts import Edge, Fault, Report, Verdict

__all__ = ["Edge", "Fault", "Report", "Verdict", "audit_study"]
