"""Keeping a store in order: what fills it (`du`), whether it is sound (`fsck`), what can go (`gc`)."""

from mlflowish.maintenance.collected import GcReport, Pile
from mlflowish.maintenance.collection import gc
from mlflowish.maintenance.findings import KINDS, Finding, FsckReport
from mlflowish.maintenance.usage import Owner, Usage, du
from mlflowish.maintenance.whole import fsck

__all__ = ["KINDS", "Finding", "FsckReport", "GcReport", "Owner", "Pile", "Usage", "du", "fsck", "gc"]
