"""Units of work from data: files, partitions of tables, and what is combined of them; each is computed once."""

from mlflowish.units.combining import cross, group, join, union
from mlflowish.units.finding import files
from mlflowish.units.outputs import Clash, clashes_in
from mlflowish.units.partition import Partition
from mlflowish.units.results import Results
from mlflowish.units.sequence import Units, is_read
from mlflowish.units.splitting import partitions
from mlflowish.units.unit import Listing, Unit
from mlflowish.units.workers import PerWorker, per_worker

__all__ = [
    "Clash",
    "Listing",
    "Partition",
    "PerWorker",
    "Results",
    "Unit",
    "Units",
    "clashes_in",
    "cross",
    "files",
    "group",
    "is_read",
    "join",
    "partitions",
    "per_worker",
    "union",
]
