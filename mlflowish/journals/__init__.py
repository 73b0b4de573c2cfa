"""Records in great number that need no agreement: appended by many writers, merged by union, found by a 16-byte key."""

from mlflowish.journals.compaction import CompactionReport, Fold
from mlflowish.journals.journals import Journals

__all__ = ["CompactionReport", "Fold", "Journals"]
