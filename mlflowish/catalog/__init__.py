"""The transactional log: what has a history and needs agreement. Knows nothing of what its keys mean."""

from mlflowish.catalog.catalog import Catalog
from mlflowish.catalog.record import Change, Commit
from mlflowish.catalog.transaction import Transaction
from mlflowish.catalog.view import Snapshot

__all__ = ["Catalog", "Change", "Commit", "Snapshot", "Transaction"]
