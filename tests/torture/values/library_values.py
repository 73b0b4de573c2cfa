"""polars, scipy, scikit-learn and networkx."""

from __future__ import annotations

import datetime as dt
from typing import Any

import networkx as nx
import numpy as np
import polars as pl
import scipy.sparse as sp
from groups import Groups
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

groups = Groups()

X, Y = load_iris(return_X_y=True)
DENSE = np.array([[0, 1.0, 0], [2.0, 0, 0]])


def base() -> pl.DataFrame:
    return pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"], "c": [[1], [], None]})


def graph(*links: Any, kind: Any = nx.Graph, **attributes: Any) -> Any:
    made = kind(**attributes)
    made.add_edges_from(links)
    return made


def looked_at(made: Any) -> Any:
    _ = made.nodes, made.edges, made.adj, made.degree, list(made.edges), nx.number_connected_components(made)
    return made


def weighted(weight: Any) -> Any:
    made = nx.path_graph(3)
    made.edges[0, 1]["w"] = weight
    return made


def unsorted() -> Any:
    return sp.csr_array((np.array([2.0, 1.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))


def with_long_indices() -> Any:
    made = sp.csr_array(DENSE)
    made.indices = made.indices.astype("int64")
    made.indptr = made.indptr.astype("int64")
    return made


def asked(made: Any) -> Any:
    _ = made.has_sorted_indices, made.has_canonical_format
    return made


def fitted(c: float = 1.0, rows: int = 150) -> Any:
    return LogisticRegression(C=c, max_iter=1000).fit(X[:rows], Y[:rows])


def used(model: Any) -> Any:
    model.predict(X[:3])
    return model


groups.distinct(
    "polars frames",
    base,
    lambda: base().select("b", "a", "c"),
    lambda: base().rename({"a": "d"}),
    lambda: base().with_columns(pl.col("a").cast(pl.Int32)),
    lambda: base().with_columns(pl.col("a").cast(pl.Float64)),
    lambda: base().with_columns(pl.col("b").cast(pl.Categorical)),
    lambda: base()[:2],
    lambda: base()[::-1],
    lambda: base().fill_null(0),
    lambda: base().to_arrow(),
    lambda: base()["a"],
    lambda: base().to_dict(as_series=False),
    lambda: pl.DataFrame(),
    lambda: base().clear(),
)
groups.alike(
    "polars chunks and slices",
    base,
    lambda: pl.concat([base()[:1], base()[1:]], rechunk=False),
    lambda: pl.concat([base(), base()])[3:],
    lambda: base().clone(),
    lambda: base().sort("a", nulls_last=True),
)
groups.distinct(
    "polars series",
    lambda: pl.Series("a", [1, 2]),
    lambda: pl.Series("b", [1, 2]),
    lambda: pl.Series("a", [2, 1]),
    lambda: pl.Series("a", [1.0, 2.0]),
    lambda: pl.Series("a", [1, None]),
    lambda: pl.Series("a", [1, 2], dtype=pl.Int8),
    lambda: pl.Series("a", ["1", "2"]),
    lambda: pl.DataFrame({"a": [1, 2]}),
    lambda: [1, 2],
)
groups.distinct(
    "polars types",
    *[
        lambda t=t: pl.Series([1, 2]).cast(t)
        for t in (
            pl.Int64,
            pl.Int32,
            pl.UInt8,
            pl.Float32,
            pl.Float64,
            pl.Decimal(10, 2),
            pl.Decimal(10, 1),
            pl.Decimal(12, 2),
            pl.Date,
            pl.Datetime("ms"),
            pl.Datetime("us"),
            pl.Datetime("us", "UTC"),
            pl.Datetime("us", "Europe/Berlin"),
            pl.Duration("ms"),
            pl.Duration("us"),
            pl.Time,
            pl.String,
            pl.Boolean,
            pl.Int128,
        )
    ],
)
groups.distinct(
    "polars categories",
    lambda: pl.Series(["a", "b"]),
    lambda: pl.Series(["a", "b"], dtype=pl.Categorical),
    lambda: pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
    lambda: pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
    lambda: pl.Series(["a", "b"], dtype=pl.Enum(["a", "b", "c"])),
    lambda: pl.Series(["b", "a"], dtype=pl.Categorical),
)
groups.alike(
    "polars categories whatever was seen before",
    lambda: pl.Series(["a", "b"], dtype=pl.Categorical),
    lambda: pl.Series(["z", "b", "a", "a", "b"], dtype=pl.Categorical)[3:],
)
groups.distinct(
    "polars nested",
    lambda: pl.Series([[1], [2, 3]]),
    lambda: pl.Series([[1, 2], [3]]),
    lambda: pl.Series([[1, 2], [3, 4]]),
    lambda: pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    lambda: pl.Series([{"a": 1}]),
    lambda: pl.Series([{"b": 1}]),
    lambda: pl.Series([{"a": None}]),
    lambda: pl.Series([["a"]], dtype=pl.List(pl.Categorical)),
    lambda: pl.Series([["a"]]),
)
groups.distinct(
    "polars objects and bytes",
    lambda: pl.Series([b"a"]),
    lambda: pl.Series(["a"]),
    lambda: pl.Series([{1}], dtype=pl.Object),
    lambda: pl.Series([{2}], dtype=pl.Object),
    lambda: pl.Series([None]),
    lambda: pl.Series([dt.date(2020, 1, 1)]),
)
groups.distinct(
    "polars dtypes as values",
    lambda: pl.Int64(),
    lambda: pl.Int32(),
    lambda: pl.List(pl.Int64),
    lambda: pl.List(pl.Int32),
    lambda: pl.Datetime("us"),
    lambda: pl.Datetime("ms"),
    lambda: pl.Enum(["a"]),
    lambda: pl.Enum(["b"]),
    lambda: pl.Struct({"a": pl.Int8}),
    lambda: pl.Struct({"b": pl.Int8}),
)
groups.distinct(
    "polars expressions",
    lambda: pl.col("a") > 1,
    lambda: pl.col("a") > 2,
    lambda: pl.col("b") > 1,
    lambda: pl.col("a") >= 1,
)
groups.distinct(
    "formats of a sparse matrix",
    *[lambda f=f: sp.csr_array(DENSE).asformat(f) for f in ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")],
    lambda: sp.csr_matrix(DENSE),
    lambda: sp.coo_matrix(DENSE),
    lambda: DENSE,
    lambda: sp.csr_array(DENSE.astype("f4")),
    lambda: sp.csr_array(DENSE.T),
)
groups.distinct(
    "entries of a sparse matrix",
    lambda: sp.csr_array(DENSE),
    lambda: sp.csr_array(DENSE * 2),
    lambda: sp.csr_array(DENSE[::-1]),
    lambda: sp.csr_array((3, 2)),
    lambda: sp.csr_array((2, 3)),
    unsorted,
    lambda: unsorted().sorted_indices(),
)
groups.alike(
    "sparse matrices with other indices and asked ones",
    lambda: sp.csr_array(DENSE),
    with_long_indices,
    lambda: asked(sp.csr_array(DENSE)),
)
groups.distinct(
    "models",
    lambda: LogisticRegression(),
    lambda: LogisticRegression(C=2.0),
    fitted,
    lambda: fitted(2.0),
    lambda: fitted(rows=120),
    lambda: StandardScaler(),
    lambda: StandardScaler().fit(X),
    lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    lambda: make_pipeline(StandardScaler()),
)
groups.alike("models fitted twice and used", fitted, fitted, lambda: used(fitted()))
groups.distinct(
    "trees",
    lambda: DecisionTreeClassifier(random_state=0).fit(X, Y),
    lambda: DecisionTreeClassifier(random_state=0, max_depth=2).fit(X, Y),
    lambda: DecisionTreeClassifier(random_state=0).fit(X[50:], Y[50:]),
    lambda: RandomForestClassifier(2, random_state=0).fit(X, Y),
    lambda: RandomForestClassifier(2, random_state=1).fit(X, Y),
)
groups.alike("trees grown twice", *[lambda: RandomForestClassifier(3, random_state=0).fit(X, Y)] * 3)
groups.distinct(
    "graphs",
    lambda: graph((1, 2), (2, 3)),
    lambda: graph((1, 2)),
    lambda: graph((1, 2), (2, 3), kind=nx.DiGraph),
    lambda: graph((2, 1), (3, 2), kind=nx.DiGraph),
    lambda: graph((1, 2), (2, 3), kind=nx.MultiGraph),
    lambda: graph((1, 2), (1, 2), (2, 3), kind=nx.MultiGraph),
    lambda: graph((1, 2), (2, 3), name="g"),
    lambda: weighted(1),
    lambda: weighted(1.0),
    lambda: weighted(2),
    lambda: graph(("1", "2"), ("2", "3")),
    lambda: nx.Graph(),
    lambda: graph((2, 3), (1, 2)),
)
groups.alike(
    "graphs looked at", lambda: nx.path_graph(4), lambda: looked_at(nx.path_graph(4)), lambda: nx.path_graph(4).copy()
)
