"""Partitions of tables in memory and of Parquet data sets."""

from __future__ import annotations

import datetime
import pickle
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import mlflowish as mf

ROWS = {"city": ["Rome", "Oslo", "Rome", None], "year": [2024, 2023, 2023, 2023], "n": [1, 2, 3, 4]}


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, pl.DataFrame], ids=["arrow", "pandas", "polars"])
def test_a_table_is_split_by_its_columns_in_their_order(make):
    table = make(ROWS)
    units = mf.partitions(table, by="city")
    assert units.names == ["city=__HIVE_DEFAULT_PARTITION__", "city=Oslo", "city=Rome"]
    assert units[2].keys == {"city": "Rome"}
    assert type(units[2].value) is type(table)
    assert list(units[2].value["n"].to_list() if make is not pa.table else units[2].value["n"].to_pylist()) == [1, 3]
    both = mf.partitions(table, by=["year", "city"], name="sales").filter("*Rome")
    assert both.names == ["sales/year=2023/city=Rome", "sales/year=2024/city=Rome"]
    assert all(unit.size_bytes is None or unit.size_bytes > 0 for unit in units)


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, pl.DataFrame], ids=["arrow", "pandas", "polars"])
def test_only_parts_that_changed_are_computed_again(make):
    ran = []

    @mf.step(ignore=("log",))
    def total(part, log):
        log.append(1)
        return int(sum(part["n"].to_pylist() if hasattr(part["n"], "to_pylist") else part["n"].to_list()))

    before = mf.partitions(make(ROWS), by="city")
    assert total.map(before, log=ran) == [4, 2, 4]
    changed = {**ROWS, "n": [1, 20, 3, 4]}
    assert total.map(mf.partitions(make(changed), by="city"), log=ran).to_dict()["city=Oslo"] == 20
    assert len(ran) == 4


def test_values_of_any_kind_have_names_and_an_order():
    days = [datetime.date(2024, 1, 2), datetime.date(2024, 1, 1)]
    assert mf.partitions(pd.DataFrame({"day": days}), by="day").names == ["day=2024-01-01", "day=2024-01-02"]
    assert mf.partitions(pd.DataFrame({"a": ["x/y", "z=1"]}), by="a").names == ["a=x%2Fy", "a=z%3D1"]
    assert mf.partitions(pd.DataFrame({"a": [10, 9.5, True]}, dtype=object), by="a").names[-1] == "a=10"
    with pytest.raises(mf.InvalidInputError, match="differ in type only"):
        len(mf.partitions(pd.DataFrame({"a": [1, "1"]}, dtype=object), by="a"))


@pytest.fixture
def dataset():
    keys = pa.schema([("year", pa.int64()), ("city", pa.string())])
    layout = ds.partitioning(keys, flavor="hive")
    ds.write_dataset(pa.table(ROWS), "sales", format="parquet", partitioning=layout)
    Path("sales/_SUCCESS").touch()
    return "sales"


def test_folders_of_a_data_set_are_its_parts(dataset):
    units = mf.partitions(dataset)
    null = "__HIVE_DEFAULT_PARTITION__"
    cities = ["year=2023/city=Oslo", "year=2023/city=Rome", f"year=2023/city={null}", "year=2024/city=Rome"]
    assert units.names == cities
    part = units[2].value
    assert part.to_arrow().to_pydict() == {"n": [4], "year": ["2023"], "city": [None]}
    assert part.to_arrow(["city", "n"]).column_names == ["city", "n"]
    assert units[0].size_bytes is None or units[0].size_bytes > 0
    assert units.preview()[0]["size_bytes"] > 0
    assert pickle.loads(pickle.dumps(part)).keys == part.keys == units[2].keys


def test_some_of_its_keys_are_enough_and_the_others_become_columns(dataset):
    units = mf.partitions(dataset, by="city", name="sales")
    assert units.names == ["sales/city=Oslo", "sales/city=Rome", "sales/city=__HIVE_DEFAULT_PARTITION__"]
    rome = units[1].value
    assert rome.keys == {"city": "Rome"}
    assert rome.to_arrow().to_pydict() == {"n": [3, 1], "year": ["2023", "2024"], "city": ["Rome", "Rome"]}


def test_only_the_partition_that_changed_is_computed_again(dataset):
    ran = []

    @mf.step(ignore=("log",))
    def total(part, log):
        log.append(dict(part.keys))
        return sum(part.to_arrow(["n"])["n"].to_pylist())

    assert total.map(mf.partitions(dataset), log=ran) == [2, 3, 4, 1]
    file = mf.partitions(dataset)[1].value.files[0].path
    Path(file).rename(Path(file).with_name("another-name.parquet"))
    pq.write_table(pa.table({"n": [7]}), f"{Path(file).parent}/zz.parquet")
    assert total.map(mf.partitions(dataset), log=ran)["year=2023/city=Rome"] == 10
    assert ran[4:] == [{"year": "2023", "city": "Rome"}]


def test_the_keys_of_a_partition_count():
    for year in (2023, 2024):
        Path(f"t/year={year}").mkdir(parents=True)
        pq.write_table(pa.table({"n": [1]}), f"t/year={year}/a.parquet")
    one, other = mf.partitions("t")
    assert mf.digest(one.value) != mf.digest(other.value)


def test_files_without_folders_that_name_keys_are_parts_themselves():
    Path("flat").mkdir()
    for name in ("a", "b"):
        pq.write_table(pa.table({"n": [1]}), f"flat/{name}.parquet")
    units = mf.partitions("flat")
    assert units.names == ["flat/a.parquet", "flat/b.parquet"]
    assert units[0].value.to_pandas().n.tolist() == [1]


def test_mistakes_with_tables_say_what_to_write(dataset):
    with pytest.raises(mf.InvalidInputError, match="no column 'town'; it has city, year, n"):
        mf.partitions(pd.DataFrame(ROWS), by="town")
    with pytest.raises(mf.InvalidInputError, match="need columns to split it by"):
        mf.partitions(pd.DataFrame(ROWS))
    with pytest.raises(mf.InvalidInputError, match="found list"):
        mf.partitions([1, 2], by="n")
    with pytest.raises(mf.InvalidInputError, match="in no folder n="):
        len(mf.partitions(dataset, by="n"))
