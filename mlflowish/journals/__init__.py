"""Records in great number that need no agreement: appended by many writers, merged by union, found by a 16-byte key."""

from mlflowish.journals.compaction import CompactionReport, Fold
from mlflowish.journals.journals import NEWS_S, Journals

__all__ = ["NEWS_S", "CompactionReport", "Fold", "Journals"]
