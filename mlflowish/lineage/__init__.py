"""Who made what, from what: the graph of calls and data behind anything that a store holds."""

from mlflowish.lineage.difference import LineageDifference
from mlflowish.lineage.graph import Lineage
from mlflowish.lineage.roots import of

__all__ = ["Lineage", "LineageDifference", "of"]
