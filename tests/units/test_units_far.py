"""Units in a bucket: what a listing tells costs no request for each file, and what is unchanged is not downloaded."""

from __future__ import annotations

import http.server
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlflowish as mf
from mlflowish.store import contents, distant, remembered

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from proxy import Proxy

sys.path.pop(0)
LOCK = threading.Lock()


class Bucket:
    """A folder of a bucket, seen through a proxy that counts."""

    def __init__(self, url: str, options: dict[str, Any], proxy: Proxy) -> None:
        self._proxy = proxy
        client = {**options["client_kwargs"], "endpoint_url": proxy.endpoint}
        self.url, self.options = url, {**options, "client_kwargs": client}
        self.fs, self.root = distant.filesystem(url, self.options)

    def put(self, **contents: bytes) -> None:
        self.fs.pipe({f"{self.root}/{name.replace('__', '/')}.txt": data for name, data in contents.items()})

    def requests(self) -> Counter[str]:
        """What was asked since the last time, by method."""
        found = Counter(self._proxy.requests)
        self._proxy.requests.clear()
        return found

    def files(self, pattern: str = "*.txt") -> mf.Units:
        return mf.files(f"{self.url}/{pattern}", **self.options)


@pytest.fixture(scope="module", params=["moto_url", pytest.param("seaweed_url", marks=pytest.mark.nightly)])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any], Proxy]]:
    """One for all tests here: each endpoint is a client of its own, which takes long to make."""
    url, options = request.getfixturevalue(request.param)
    proxy = Proxy(options["client_kwargs"]["endpoint_url"])
    yield url, options, proxy
    proxy.close()


@pytest.fixture
def bucket(place: tuple[str, dict[str, Any], Proxy]) -> Bucket:
    url, options, proxy = place
    return Bucket(f"{url}/{uuid.uuid4().hex}", options, proxy)


@pytest.fixture(autouse=True)
def new_process() -> Any:
    """As if another process went on, on another machine if `cache` is deleted as well."""

    def forget() -> None:
        remembered._memory.clear()
        remembered.waiting.clear()
        contents._memo.clear()

    forget()
    return forget


@mf.step(ignore=("ran",))
def shout(file: mf.File, ran: list[str]) -> str:
    with LOCK:
        ran.append(file.name)
    return Path(file).read_text().upper()


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.nightly)])
def test_of_many_files_only_the_new_ones_are_downloaded(bucket, new_process, count):
    ran: list[str] = []
    bucket.put(**{f"f{n:04}": b"content %d" % n for n in range(count)})
    bucket.requests()
    assert len(shout.map(bucket.files(), ran=ran)) == len(ran) == count
    asked = bucket.requests()
    assert asked["GET"] <= count + 2 + count // 500  # each file once, and the listing
    ran.clear()
    bucket.put(new1=b"x", new2=b"y", f0003=b"changed")
    bucket.requests()
    new_process()
    results = shout.map(bucket.files(), ran=ran)
    asked = bucket.requests()
    assert sorted(ran) == ["f0003.txt", "new1.txt", "new2.txt"]
    assert asked["GET"] <= 3 + 2 + count // 500
    assert asked["HEAD"] <= 3 * 3
    assert results[f"{bucket.url}/f0003.txt"] == "CHANGED"
    new_process()
    assert shout.map(bucket.files(), ran=ran) == results
    assert bucket.requests().keys() == {"GET"}  # the listing


def test_a_renamed_file_is_read_and_not_computed_again(bucket):
    ran: list[str] = []
    bucket.put(a=b"one", b=b"two")
    shout.map(bucket.files(), ran=ran)
    bucket.fs.mv(f"{bucket.root}/a.txt", f"{bucket.root}/c.txt")
    assert [name.rpartition("/")[2] for name in shout.map(bucket.files(), ran=ran).names] == ["b.txt", "c.txt"]
    assert ran.count("c.txt") == 0


def test_a_preview_downloads_nothing(bucket, new_process):
    bucket.put(a=b"one", b=b"two", s1__x=b"three")
    shout.map(bucket.files("a*"), ran=[])
    new_process()
    bucket.requests()
    preview = bucket.files("{subject}.txt").preview(shout, ran=[])
    assert bucket.requests() == {"GET": 1}
    assert [(row["subject"], row["size_bytes"], row["state"]) for row in preview] == [
        ("a", 3, "hit"),
        ("b", 3, "unknown"),
    ]


def test_patterns_and_folders_are_found_as_on_a_disk(bucket):
    bucket.put(a=b"1", d__b=b"2", d__e__c=b"3", **{"d__.h": b"4"})
    bucket.fs.pipe(f"{bucket.root}/marker/", b"")

    def below(units: mf.Units) -> list[str]:
        return [name.removeprefix(f"{bucket.url}/") for name in units.names]

    assert below(bucket.files("*.txt")) == ["a.txt"]
    assert below(bucket.files("**/{name}.txt")) == ["a.txt", "d/b.txt", "d/e/c.txt"]
    assert below(bucket.files("d/*.txt")) == ["d/b.txt"]
    assert below(bucket.files("d")) == below(bucket.files("d/")) == ["d/b.txt", "d/e/c.txt"]
    assert below(bucket.files("d/b.txt")) == ["d/b.txt"]
    assert below(bucket.files("d/*.csv")) == []
    for absent in ("nothing/*.txt", "nothing", "nothing.txt"):
        with pytest.raises(mf.NotFoundError, match="nothing"):
            len(bucket.files(absent))
    with pytest.raises(mf.NotFoundError, match="is a file"):
        len(bucket.files("a.txt/*"))


def test_a_file_that_changes_after_it_was_listed_is_computed_as_it_is(bucket):
    bucket.put(a=b"old")
    units = bucket.files()
    listing = units.listed_anew()
    bucket.put(a=b"newer")
    with distant.trusting(listing.looks):
        assert units[0].value.content_digest()
    assert shout(*units[0], ran=[]) == "NEWER"
    bucket.put(a=b"old")
    assert shout.map(units, ran=[]) == ["OLD"]


def test_files_of_a_web_page_are_units(tmp_path):
    site = tmp_path / "site"
    (site / "in").mkdir(parents=True)
    for name in ("a.csv", "b.txt", "in/c.csv"):
        (site / name).write_text(name)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def log_message(self, *arguments: Any) -> None:
            """Not in the output of the tests."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert shout.map(mf.files(f"{url}/*.csv"), ran=[]).to_dict() == {f"{url}/a.csv": "A.CSV"}
        assert mf.files(f"{url}/**/*.csv").names == [f"{url}/a.csv", f"{url}/in/c.csv"]
        assert mf.files(f"{url}/b.txt")[0].value.read_text() == "b.txt"
    finally:
        server.shutdown()
        server.server_close()


def test_files_of_a_backend_that_says_nothing_reliable_are_read_side_by_side_and_are_right(new_process):
    import fsspec

    fs = fsspec.filesystem("memory")
    name = uuid.uuid4().hex
    for number in range(20):
        fs.pipe(f"/{name}/{number:02}.txt", b"%d" % number)
    ran: list[str] = []
    units = mf.files(f"memory://{name}/*.txt")
    assert shout.map(units, ran=ran) == [str(number) for number in range(20)]
    fs.pipe(f"/{name}/07.txt", b"8")
    new_process()
    assert units.preview(shout, ran=ran).column("state") == ["unknown"] * 20
    assert shout.map(units, ran=ran)[7] == "8"
    fs.pipe(f"/{name}/07.txt", b"9x")
    assert shout.map(units, ran=ran)[7] == "9X"
    assert len(ran) == 21


def test_google_says_what_a_listing_needs(gcs_url, new_process, tmp_path):
    url, options = gcs_url
    fs, root = distant.filesystem(f"{url}/units", options)
    fs.pipe({f"{root}/{name}.txt": name.encode() for name in ("a", "b")})
    ran: list[str] = []
    units = mf.files(f"{url}/units/*.txt", **options)
    assert shout.map(units, ran=ran) == ["A", "B"]
    new_process()
    assert units.preview(shout, ran=ran).column("state") == ["hit", "hit"]
    fs.pipe(f"{root}/a.txt", b"c")
    assert shout.map(units, ran=ran) == ["C", "B"]
    assert sorted(ran) == ["a.txt", "a.txt", "b.txt"]


def test_a_data_set_in_a_bucket_is_read_where_it_changed(bucket, new_process, tmp_path):
    for year in (2023, 2024):
        pq.write_table(pa.table({"n": [year]}), tmp_path / "part.parquet")
        bucket.fs.put_file(str(tmp_path / "part.parquet"), f"{bucket.root}/t/year={year}/part.parquet")
    total = mf.step(_total)
    units = mf.partitions(f"{bucket.url}/t", **bucket.options)
    assert total.map(units).to_dict() == {"year=2023": 2023, "year=2024": 2024}
    new_process()
    bucket.requests()
    assert total.map(units) == [2023, 2024]
    assert bucket.requests() == {"GET": 1}


def _total(part: mf.Partition) -> int:
    return sum(part.to_arrow(["n"])["n"].to_pylist())


def test_grouped_and_joined_files_are_known_by_the_listing_too(bucket, new_process):
    bucket.put(s1__a=b"1", s1__b=b"22", s2__a=b"333")
    length = mf.step(_length)
    units = mf.group(bucket.files("{subject}/*.txt"), by="subject")
    assert length.map(units).to_dict() == {"subject=s1": 3, "subject=s2": 3}
    new_process()
    bucket.requests()
    assert length.map(units) == [3, 3]
    assert bucket.requests() == {"GET": 1}


def _length(files: list[mf.File]) -> int:
    return sum(len(file.read_bytes()) for file in files)


class Ran(list[str]):
    """Which files ran: a list that bodies do not copy."""


@mf.pipeline
def shouted(bucket: Bucket, ran: list[str]):
    return shout.map(bucket.files(), ran=ran, batch=4)


@mf.step(cache=False)
def found_in(bucket: Bucket) -> mf.Units:
    return bucket.files()


@mf.pipeline
def shouted_of_a_step(bucket: Bucket, ran: list[str]):
    return shout.map(found_in(bucket), ran=ran)


@pytest.mark.parametrize("pipeline", [shouted, shouted_of_a_step], ids=["body", "step"])
def test_a_pipeline_over_a_bucket_costs_the_listing_and_what_is_new(bucket, new_process, pipeline):
    ran = Ran()
    bucket.put(**{f"f{n:02}": b"content %d" % n for n in range(12)})
    bucket.requests()
    assert len(pipeline(bucket, ran)) == len(ran) == 12
    assert bucket.requests()["GET"] <= 12 + 2
    bucket.put(new=b"x", f03=b"changed")
    bucket.requests()
    new_process()
    if pipeline is shouted:
        assert pipeline.plan(bucket, ran).counts() == {"hit": 11, "unknown": 2}
        assert bucket.requests() == {"GET": 1}
    ran.clear()
    assert pipeline(bucket, ran)[3] == "CHANGED"
    assert sorted(ran) == ["f03.txt", "new.txt"]
    asked = bucket.requests()
    assert asked["GET"] <= 2 + 2
    assert asked["HEAD"] <= 2 * 4
    new_process()
    assert len(pipeline(bucket, ran)) == 13
    assert bucket.requests() == {"GET": 1}
    assert len(ran) == 2
