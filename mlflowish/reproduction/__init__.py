"""Running recorded code on recorded inputs again, and comparing what comes out with what is stored."""

from mlflowish.reproduction.records import Distance, ReproducedCall, Reproduction
from mlflowish.reproduction.reproducing import reproduce
from mlflowish.reproduction.values import stored_value

__all__ = ["Distance", "ReproducedCall", "Reproduction", "reproduce", "stored_value"]
