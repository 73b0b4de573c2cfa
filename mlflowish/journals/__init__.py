"""Records in great number that need no agreement: appended by many writers, merged by union, found by a 16-byte key."""

from mlflowish.journals.compaction import CompactionReport, Fold
from mlflowish.journals.journals import NEWS_S, Journals
from mlflowish.journals.segment import Segment
from mlflowish.journals.view import Holdings

__all__ = ["NEWS_S", "CompactionReport", "Fold", "Holdings", "Journals", "Segment"]
