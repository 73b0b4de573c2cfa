"""One opened location: storage, objects, journals, entries; `File` and `Dir`; and which store is the active one."""

from mlflowish.codecs import register
from mlflowish.store.active import active_store, as_store, existing_store, use
from mlflowish.store.entries import Entry, Event, Meta
from mlflowish.store.file_codecs import DirCodec, FileCodec
from mlflowish.store.files import Dir, File
from mlflowish.store.store import Store
from mlflowish.store.table import Table
from mlflowish.store.transactions import transaction

register(FileCodec(), File)
register(DirCodec(), Dir)

__all__ = [
    "Dir",
    "Entry",
    "Event",
    "File",
    "Meta",
    "Store",
    "Table",
    "active_store",
    "as_store",
    "existing_store",
    "transaction",
    "use",
]
