"""What work on a bucket costs in requests: each is a round trip, and the time of whoever works there."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import mlflowish as mf

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from proxy import Proxy

sys.path.pop(0)


@mf.step
def double(x):
    return 2 * x


class Bucket:
    """A store behind a proxy that counts."""

    def __init__(self, place: tuple[str, dict[str, Any]]) -> None:
        url, options = place
        self.proxy = Proxy(options["client_kwargs"]["endpoint_url"])
        client = {**options["client_kwargs"], "endpoint_url": self.proxy.endpoint}
        self.url, self.options = f"{url}/counted", {**options, "client_kwargs": client}
        self.opened_s = 0.0

    def opened(self) -> mf.Store:
        """Opened anew, as by another process."""
        self.proxy.asked.clear()
        self.opened_s = time.monotonic()
        return mf.Store(self.url, **self.options)

    def asked(self) -> Counter[str]:
        """What was asked for since then: `LIST journals`, `PUT calls`, and so on. Never more listings than one of each
        folder a second."""
        found = Counter(map(_shape, self.proxy.asked))
        assert found["LIST journals"] == found["LIST segments"] <= 2 + int(time.monotonic() - self.opened_s)
        return found


def _shape(request: str) -> str:
    method, _, path = unquote(request).partition(" ")
    parts = path.partition("counted/")[2].partition("&")[0].rstrip("/").split("/")
    if "list-type=" in path:
        return f"LIST {'/'.join(parts)}"
    return f"{method} {parts[1] if parts[0] in ('journals', 'segments', 'catalog') else parts[0]}"


@pytest.fixture(scope="module")
def bucket(moto_url: tuple[str, dict[str, Any]]) -> Iterator[Bucket]:
    bucket = Bucket(moto_url)
    with bucket.opened():
        double(1)
    yield bucket
    bucket.proxy.close()


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache of another machine"))


@pytest.mark.usefixtures("nothing_cached")
def test_a_hit_lists_what_there_is_and_reads_what_it_looks_into(bucket: Bucket) -> None:
    with bucket.opened():
        double(1)
    asked = bucket.asked()
    assert asked.keys() == {"GET FORMAT", "LIST journals", "LIST segments", "GET calls", "GET used"}
    assert asked["GET FORMAT"] == 1


def test_a_miss_lists_the_same_and_ships_what_is_new(bucket: Bucket) -> None:
    with bucket.opened():
        double(2)
    asked = bucket.asked()
    kinds = {"GET calls", "GET code", "GET fingerprints", "GET used"}
    assert asked.keys() - kinds == {"GET FORMAT", "LIST journals", "LIST segments", "PUT calls"}
    assert asked["GET FORMAT"] == 1


def test_versions_cost_a_request_for_each_look_and_one_for_each_change(bucket: Bucket) -> None:
    with bucket.opened():
        version = mf.register_model("churn", {"slope": 1}).version
        mf.registry.transition("churn", version, "production")
        for _ in range(5):
            mf.load_model("churn", stage="production")
    asked = bucket.asked()
    assert asked["PUT log"] == 2
    # Two when it is opened; then one for each look: after the first change, before the second, and before each load.
    assert asked["GET log"] == 2 + 2 + 5
    # What the catalog is to name is looked for. When it is loaded it comes from the cache.
    assert (asked["HEAD objects"], asked["GET objects"]) == (2, 0)
