"""Units on a Dask cluster whose workers have no disk in common with the driver: data and store are in a bucket."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlflowish as mf
from mlflowish.executors import executor_block
from mlflowish.executors.dask import DaskExecutor
from mlflowish.store import distant


class World:
    """A store and a folder of data in one bucket."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url, self.options = f"{url}/{uuid.uuid4().hex}", options
        self.fs, self.root = distant.filesystem(f"{self.url}/data", options)

    def put(self, **contents: bytes) -> None:
        self.fs.pipe({f"{self.root}/{name.replace('__', '/')}.txt": data for name, data in contents.items()})

    def files(self, pattern: str = "*.txt") -> mf.Units:
        return mf.files(f"{self.url}/data/{pattern}", **self.options)

    def ran(self) -> list[str]:
        """Which units ran since the last time."""
        place = f"{self.root}-ran"
        self.fs.invalidate_cache()
        marks = [path for path in self.fs.find(place) if "~" in path]
        if marks:
            self.fs.rm(marks)
        return sorted(path.rpartition("/")[2].partition("~")[0] for path in marks)


@pytest.fixture(scope="module")
def cluster(dask_address):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflowish.executors.dask.CONNECT_S", 300.0)  # a machine may be busy
        executor = DaskExecutor(dask_address)
    yield executor
    executor.shutdown()


@pytest.fixture
def world(cluster, seaweed_url, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    made = World(*seaweed_url)
    with mf.Store(f"{made.url}/store", **made.options), executor_block(cluster):
        yield made


def mark(world: World, name: str) -> None:
    world.fs.pipe(f"{world.root}-ran/{name}~{uuid.uuid4().hex}", b"x")


@mf.per_worker
def set_up() -> str:
    return uuid.uuid4().hex


@mf.step(ignore=("world",))
def measured(file: mf.File, world: World) -> tuple[int, int, str]:
    mark(world, file.name)
    return len(Path(file).read_bytes()), os.getpid(), set_up()


@mf.step(ignore=("world",))
def compared(one: list[mf.File], other: mf.File, world: World) -> str:
    mark(world, other.name)
    return other.read_text() + "".join(file.read_text() for file in one)


@mf.step(ignore=("world",))
def added(part: mf.Partition, world: World) -> int:
    mark(world, str(part.keys["year"]))
    return sum(part.to_arrow(["n"])["n"].to_pylist())


@mf.pipeline
def sizes(world: World, batch: int):
    return measured.map(world.files(), world=world, batch=batch)


def test_files_of_a_bucket_are_worked_on_where_no_disk_is_shared(world):
    world.put(**{f"f{n:02}": b"x" * n for n in range(12)})
    found = sizes(world, 3)
    assert [size for size, _, _ in found] == list(range(12))
    assert len(world.ran()) == 12
    assert len({made for _, _, made in found}) == len({pid for _, pid, _ in found})  # set up once in each process
    assert os.getpid() not in {pid for _, pid, _ in found}
    world.put(f03=b"changed", new=b"y")
    world.fs.rm(f"{world.root}/f05.txt")
    plan = sizes.plan(world, 3)
    assert plan.counts() == {"hit": 10, "unknown": 2}
    assert [node.unit.rpartition("/")[2] for node in plan if node.state == "unknown"] == ["f03.txt", "new.txt"]
    assert [size for size, _, _ in sizes(world, 3)] == [0, 1, 2, 7, 4, 6, 7, 8, 9, 10, 11, 1]
    assert world.ran() == ["f03.txt", "new.txt"]
    assert measured.map(world.files(), world=world, batch=100)[-1][0] == 1
    assert world.ran() == []


def test_joined_grouped_and_crossed_files_travel_as_urls(world):
    world.put(s1__a=b"1", s1__b=b"2", s2__a=b"3", labels__s1=b"one", labels__s2=b"two")
    subjects = mf.group(world.files("s{subject}/*.txt"), by="subject")
    labels = world.files("labels/s{subject}.txt")
    assert compared.map(mf.join(subjects, labels, on="subject"), world=world) == ["one12", "two3"]
    assert compared.map(mf.cross(subjects, labels), world=world, batch=4) == ["one12", "two12", "one3", "two3"]
    assert len(world.ran()) == 4
    world.put(s2__c=b"4")
    assert compared.map(mf.join(subjects, labels, on="subject"), world=world) == ["one12", "two34"]
    assert world.ran() == ["s2.txt"]


def test_partitions_of_a_data_set_in_a_bucket_are_read_by_the_workers(world, tmp_path):
    def write(year: int, n: int) -> None:
        pq.write_table(pa.table({"n": [n]}), tmp_path / "part.parquet")
        world.fs.put_file(str(tmp_path / "part.parquet"), f"{world.root}/t/year={year}/part.parquet")

    for year in (2022, 2023):
        write(year, year)
    units = mf.partitions(f"{world.url}/data/t", **world.options)
    assert added.map(units, world=world).to_dict() == {"year=2022": 2022, "year=2023": 2023}
    world.ran()
    write(2023, 5)
    write(2024, 6)
    assert added.map(units, world=world, batch=2) == [2022, 5, 6]
    assert world.ran() == ["2023", "2024"]


@mf.step
def text_of(file: mf.File) -> str:
    return file.read_text()


@mf.step
def folder_of(x: int) -> str:
    return os.getcwd()


@mf.pipeline
def texts(pattern: str):
    return text_of.map(mf.files(pattern))


def test_a_path_that_only_the_driver_has_is_named_with_what_to_do(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = uuid.uuid4().hex
    Path(name).write_text("of the driver")
    wanted = rf"there is no {name} for the worker on .*Workers on other machines need URLs, or folders"
    with pytest.raises(mf.NotFoundError, match=wanted):
        text_of.submit(mf.File(name)).result(300)
    for attempt in (lambda: texts(f"{name}*"), lambda: text_of.map(mf.files(name), batch=2)):
        with pytest.raises(mf.StepError, match=wanted):
            attempt()


def test_another_file_at_the_same_path_is_never_worked_on(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = uuid.uuid4().hex
    Path(name).write_text("of the driver")
    for folder in set(folder_of.map(range(8))) | {str(path) for path in _worker_folders(world)}:
        (Path(folder) / name).write_text("of the worker")
    wanted = rf"the content of {name} is another one for the worker on .*the worker has another file there"
    with pytest.raises(mf.CapabilityError, match=wanted):
        text_of.submit(mf.File(name)).result(300)
    for attempt in (lambda: texts(name), lambda: text_of.map(mf.files(name))):
        with pytest.raises(mf.StepError, match=wanted):
            attempt()
    assert not text_of.is_cached(mf.File(name))


def _worker_folders(world: World) -> list[str]:
    from mlflowish.executors import active_executor

    executor = active_executor()
    assert isinstance(executor, DaskExecutor)
    return list(executor.client.run(os.getcwd).values())
