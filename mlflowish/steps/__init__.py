"""`@step`: ordinary functions whose calls are computed once and read back from then on."""

from mlflowish.steps.accepting import accept, accepted
from mlflowish.steps.bound import BoundStep
from mlflowish.steps.calls import Call
from mlflowish.steps.decorator import step
from mlflowish.steps.explaining import Difference, Explanation
from mlflowish.steps.provenance import producer_of
from mlflowish.steps.wrapper import Step

__all__ = ["BoundStep", "Call", "Difference", "Explanation", "Step", "accept", "accepted", "producer_of", "step"]
