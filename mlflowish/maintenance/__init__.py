"""Keeping a store in order: what fills it (`du`), whether it is sound (`fsck`), what can go (`gc`)."""

from mlflowish.maintenance.collected import GcReport, Pile
from mlflowish.maintenance.collection import gc
from mlflowish.maintenance.findings import KINDS, Finding, FsckReport
from mlflowish.maintenance.retained import RetentionReport, Verdict
from mlflowish.maintenance.retaining import retain
from mlflowish.maintenance.usage import Owner, Usage, du
from mlflowish.maintenance.whole import fsck

__all__ = [
    "KINDS",
    "Finding",
    "FsckReport",
    "GcReport",
    "Owner",
    "Pile",
    "RetentionReport",
    "Usage",
    "Verdict",
    "du",
    "fsck",
    "gc",
    "retain",
]
