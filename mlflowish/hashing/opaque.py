"""Objects that carry no meaning for a result: loggers, locks, handles. As globals they count by type and name, and by
what the code asks them (`questions.py`).
"""

from __future__ import annotations

from typing import Any

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range})
# Qualified names along the class's MRO; nothing is imported to look at them.
_HARMLESS = frozenset(
    {
        "_asyncio.Future",
        "_contextvars.ContextVar",
        "_io._IOBase",
        "_queue.SimpleQueue",
        "_socket.socket",
        "_sqlite3.Connection",
        "_sqlite3.Cursor",
        "_thread.RLock",
        "_thread._local",
        "_thread.lock",
        "_weakref.ReferenceType",
        "_weakrefset.WeakSet",
        "asyncio.events.AbstractEventLoop",
        "asyncio.locks.Event",
        "asyncio.locks.Lock",
        "asyncio.locks.Semaphore",
        "asyncio.queues.Queue",
        "boto3.resources.base.ServiceResource",
        "botocore.client.BaseClient",
        "concurrent.futures._base.Executor",
        "concurrent.futures._base.Future",
        "distributed.client.Client",
        "httpx.AsyncClient",
        "httpx.Client",
        "io.IOBase",
        "logging.Filterer",
        "logging.LoggerAdapter",
        "loguru._logger.Logger",
        "mlflowish.store.store.Store",
        "multiprocessing.context.BaseContext",
        "multiprocessing.managers.BaseManager",
        "multiprocessing.pool.Pool",
        "multiprocessing.process.BaseProcess",
        "multiprocessing.queues.Queue",
        "multiprocessing.synchronize.SemLock",
        "opentelemetry.metrics._internal.Meter",
        "opentelemetry.trace.Tracer",
        "psycopg2.extensions.connection",
        "pymongo.mongo_client.MongoClient",
        "queue.Queue",
        "redis.client.Redis",
        "requests.sessions.Session",
        "rich.console.Console",
        "sched.scheduler",
        "select.epoll",
        "selectors.BaseSelector",
        "sqlalchemy.engine.base.Connection",
        "sqlalchemy.engine.base.Engine",
        "sqlalchemy.orm.session.Session",
        "sqlite3.Connection",
        "sqlite3.Cursor",
        "ssl.SSLContext",
        "structlog._base.BoundLoggerBase",
        "structlog._config.BoundLoggerLazyProxy",
        "subprocess.Popen",
        "tempfile.TemporaryDirectory",
        "tempfile._TemporaryFileWrapper",
        "threading.Barrier",
        "threading.Condition",
        "threading.Event",
        "threading.Semaphore",
        "threading.Thread",
        "threading.local",
        "tqdm.std.tqdm",
        "urllib3.poolmanager.PoolManager",
        "warnings.catch_warnings",
        "weakref.WeakKeyDictionary",
        "weakref.WeakValueDictionary",
    }
)


# Files in memory: their content is at hand.
_READABLE = frozenset({"_io.StringIO", "_io.BytesIO"})


def is_harmless(cls: type) -> bool:
    """Whether instances of `cls` (or of what it derives from) say nothing about a result."""
    names = _names(cls)
    return not _HARMLESS.isdisjoint(names) and _READABLE.isdisjoint(names)


def is_kind(cls: type, name: str) -> bool:
    """Whether `cls` is the class of that qualified name or derives from it."""
    return name in _names(cls)


def _names(cls: type) -> list[str]:
    return [f"{getattr(base, '__module__', '')}.{base.__qualname__}" for base in cls.__mro__]


def is_sentinel(value: object) -> bool:
    """A bare `object()`: it means nothing but itself."""
    return type(value) is object


def is_plain(obj: Any) -> bool:
    """Whether an object is of a builtin type without parts."""
    try:
        return type(obj) in _PLAIN
    except TypeError:
        # A class whose metaclass cannot be hashed is none of these.
        return False


def is_immutable(obj: Any) -> bool:
    """Whether a value can never change, so that its identity says everything."""
    if is_plain(obj):
        return True
    if type(obj) is tuple or type(obj) is frozenset:
        return all(is_immutable(item) for item in obj)
    return False
