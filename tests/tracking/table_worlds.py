"""Records of runs as many writers leave them, filters about them, and what folding says: for tests of the table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from mlflowish.tracking.filters import All, Field, Filter, Not, Some, Test
from mlflowish.tracking.folding import RunRecord
from mlflowish.tracking.host import this_process
from mlflowish.tracking.records import Batch, Event, Last

NAMES = ["a", "b", "ü", "odd key", "x.y", "system/cpu"]
TEXTS = ["", "a", "A", "ab", "abc", "ß", "ẞ", "İ", "i", "%", "_", "a%b", "\n", "\ud800", "\U0001f600", "0.1", "a\0"]
NUMBERS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.5, 1e308, 5e-324]
TIMES = ["start_time", "end_time", "duration"]
T = 1_700_000_000_000_000

HERE = this_process()
PLACES = {
    "alive": HERE,
    "dead": replace(HERE, pid=2**22 + 7, started="1"),
    "far": replace(HERE, host="elsewhere", machine="m"),
    "unknown": replace(HERE, boot="", machine="", host=""),
}

texts, names, numbers = st.sampled_from(TEXTS), st.sampled_from(NAMES), st.sampled_from(NUMBERS)
times = st.integers(0, 5).map(lambda n: T + n * 1_000)
maps = st.dictionaries(names, texts, max_size=3)
sessions = st.sampled_from([b"session1", b"session2"])


def event(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.builds(Event, st.just(kind), times, st.fixed_dictionaries(fields))


processes = st.sampled_from(sorted(PLACES)).map(lambda place: PLACES[place].packed())
starts = event("start", name=texts, experiment=texts, user=texts)
children = event("start", name=texts, experiment=texts, parent=st.sampled_from(["ab" * 16, "p"]))
begins = event("session", session=sessions, process=processes)
ends = event("end", session=sessions, status=st.sampled_from(["FINISHED", "FAILED", "KILLED"]))
others = st.one_of(
    event("params", values=maps),
    event("params", values=maps, overwrite=st.just(True)),
    event("tags", values=st.dictionaries(names, st.none() | texts, max_size=2)),
    event("tags", values=st.fixed_dictionaries({"mlflow.runName": texts})),
    event("input", name=texts, digest=texts, context=st.none() | texts),
    event("life", deleted=st.booleans()),
    event("of-a-later-release", x=st.just(1)),
)
lasts = st.dictionaries(names, st.builds(Last, st.integers(-1, 2), times, numbers), max_size=3)
batches = st.builds(
    lambda writer, number, first, begun, rest, end, points: Batch(
        bytes([writer]) * 16, number, tuple(each for each in (first, begun, *rest, end) if each is not None), points
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    st.one_of(starts, starts, children, st.none()),
    st.none() | begins,
    st.lists(others, max_size=3),
    st.none() | ends,
    lasts,
)
run_ids = st.integers(0, 9).map(lambda n: bytes([0x01, 0x8F]) + bytes(12) + bytes([n, 0]))


def written(few: int, many: int) -> st.SearchStrategy[list[tuple[bytes, Batch]]]:
    """Batches of runs."""
    return st.lists(st.tuples(run_ids, batches), min_size=few, max_size=many)


_metrics = names.map(lambda name: Field("metric", name))
_times = st.sampled_from(TIMES).map(lambda key: Field("attribute", key))
_pairs = st.tuples(st.sampled_from(["param", "tag"]), names).map(lambda pair: Field(*pair))
_attributes = st.sampled_from(["run_id", "run_name", "experiment", "status", "user", "parent_id", "host"]).map(
    lambda key: Field("attribute", key)
)
_datasets = st.sampled_from(["name", "digest", "context"]).map(lambda key: Field("dataset", key))
numeric_fields, text_fields = _metrics | _times, _pairs | _attributes | _datasets
fields = numeric_fields | text_fields
orders = st.lists(st.tuples(fields, st.booleans()), max_size=3)

operands = numbers | st.sampled_from([T / 1e3, T / 1e3 + 1, 0.001])
words = texts | st.sampled_from(["FINISHED", "RUNNING", "KILLED", "018f" + "0" * 28, HERE.host, "p"])
patterns = words | st.sampled_from(["%", "a%", "%b", "%a%", "_", "a_", "__%", "%%", "018f%", "%0200"])
tests = st.one_of(
    st.builds(Test, numeric_fields, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), operands),
    st.builds(Test, numeric_fields, st.just("in"), st.lists(operands, min_size=1, max_size=3).map(tuple)),
    st.builds(Test, text_fields, st.sampled_from(["=", "!="]), words),
    st.builds(Test, text_fields, st.just("in"), st.lists(words, min_size=1, max_size=3).map(tuple)),
    st.builds(Test, text_fields, st.sampled_from(["like", "ilike"]), patterns),
    st.builds(Test, fields, st.sampled_from(["is null", "is not null"]), st.none()),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    tests,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: All(tuple(of))),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: Some(tuple(of))),
    ),
    max_leaves=5,
)
ALL_FIELDS = [
    *(Field("metric", name) for name in NAMES),
    *(Field(kind, name) for kind in ("param", "tag") for name in [*NAMES, "mlflow.runName"]),
    *(Field("dataset", key) for key in ("name", "digest", "context")),
    *(
        Field("attribute", key)
        for key in ("run_id", "run_name", "experiment", "status", "user", "parent_id", "host", *TIMES)
    ),
]


def told(records: list[RunRecord]) -> list[str]:
    """Records so that they can be compared: NaN is NaN, and the order of keys says nothing."""
    return [
        repr(
            replace(
                record,
                **{part: dict(sorted(getattr(record, part).items())) for part in ("params", "tags", "metrics")},
                hardware=dict(sorted(record.hardware.items())),
            )
        )
        for record in records
    ]
