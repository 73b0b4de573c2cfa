"""A remote store that cannot be reached: what was seen last is loaded from the cache, and nothing is written."""

from __future__ import annotations

import sys
import uuid
import warnings
from pathlib import Path

import pytest

import mlflowish as mf
from mlflowish.registry import offline

sys.path.insert(0, str(Path(__file__).parents[1] / "storage"))
from proxy import Proxy

sys.path.pop(0)
registry = mf.registry
NOWHERE = "127.0.0.1:1"


class Network:
    """A bucket behind a wire that can be cut."""

    def __init__(self, place):
        url, options = f"{place[0]}/{uuid.uuid4().hex}", place[1]
        self._proxy = Proxy(options["client_kwargs"]["endpoint_url"])
        self._target = self._proxy.target
        client = {**options["client_kwargs"], "endpoint_url": self._proxy.endpoint}
        patience = {"retries": {"max_attempts": 0}, "connect_timeout": 60, "read_timeout": 60}
        self._place = url, {**options, "client_kwargs": client, "config_kwargs": patience}

    def open(self):
        return mf.Store(self._place[0], **self._place[1])

    def cut(self):
        self._proxy.target = NOWHERE
        offline.LIMIT_S = 1.0  # drivers repeat for much longer

    def mend(self):
        self._proxy.target = self._target
        offline.LIMIT_S = 600.0  # an answer is an answer, also of a busy machine

    @property
    def requests(self):
        return self._proxy.requests

    def close(self):
        self._proxy.close()


@pytest.fixture
def network(moto_url, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)  # five by default, each after a longer pause
    monkeypatch.setattr(offline, "_seen", {})
    monkeypatch.setattr(offline, "_unreachable", {})
    monkeypatch.setattr(offline, "LIMIT_S", 600.0)
    monkeypatch.setattr(offline, "PATIENCE_S", 0.0)
    opened = Network(moto_url)
    yield opened
    opened.close()


@pytest.fixture
def seen(network):
    """A store whose model was loaded here once, and which cannot be reached any more."""
    store = network.open()
    mf.register_model("churn", {"weights": [1, 2]}, stage="production", alias="champion", store=store)
    mf.register_model("churn", {"weights": [3]}, stage="staging", store=store)
    assert mf.load_model("churn", stage="production", store=store) == {"weights": [1, 2]}
    assert mf.load_model("models:/churn@champion", store=store) == {"weights": [1, 2]}
    network.cut()
    return store


@pytest.mark.parametrize("again", [False, True], ids=["same handle", "opened anew"])
def test_the_last_known_version_is_loaded_with_a_warning_that_says_since_when(network, seen, again):
    store = network.open() if again else seen
    with pytest.warns(
        RuntimeWarning, match=r"cannot be reached: churn version 1 is what the stage production named on 20"
    ):
        assert mf.load_model("churn", stage="production", store=store) == {"weights": [1, 2]}
    with pytest.warns(RuntimeWarning, match="the alias champion named"):
        version = registry.get("churn", alias="champion", store=store)
    assert (version.version, version.stage, version.aliases) == (1, "production", ("champion",))


def test_what_was_never_asked_here_is_an_error_of_the_storage(seen):
    with pytest.raises(mf.StorageError, match="Check that the server can be reached"):
        mf.load_model("churn", stage="staging", store=seen)


def test_nothing_is_written_from_what_was_last_known(network, seen):
    for act in (
        lambda: registry.transition("churn", 2, "production", store=seen),
        lambda: registry.set_alias("churn", "champion", 2, store=seen),
        lambda: mf.register_model("churn", 1, store=seen),
    ):
        with warnings.catch_warnings(), pytest.raises(mf.StorageError):
            warnings.simplefilter("error")
            act()
    network.mend()
    assert registry.get("churn", stage="production", store=seen).version == 1
    assert len(registry.versions("churn", store=seen)) == 2


@pytest.mark.any_python
def test_a_store_that_could_not_be_reached_is_left_alone_for_a_while(network, seen, monkeypatch):
    monkeypatch.setattr(offline, "PATIENCE_S", 600.0)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="cannot be reached"):
            mf.load_model("churn", stage="production", store=seen)
    network.mend()
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        mf.load_model("churn", stage="production", store=seen)
    registry.transition("churn", 2, "production", store=seen)  # who writes always asks
    monkeypatch.setattr(offline, "_unreachable", {})
    assert mf.load_model("churn", stage="production", store=seen) == {"weights": [3]}


def test_news_is_seen_as_soon_as_the_store_can_be_reached(network, seen):
    with pytest.warns(RuntimeWarning, match="cannot be reached"):
        mf.load_model("churn", stage="production", store=seen)
    network.mend()
    registry.transition("churn", 2, "production", store=network.open())
    assert mf.load_model("churn", stage="production", store=seen) == {"weights": [3]}


def test_what_is_not_there_is_not_taken_from_what_was(network, seen):
    network.mend()
    registry.delete_alias("churn", "champion", store=network.open())
    with pytest.raises(mf.NotFoundError):
        mf.load_model("churn", alias="champion", store=seen)


@pytest.mark.any_python
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"v": 1}', b'{"record": {}, "version": 1, "aliases": []}'])
def test_a_damaged_note_of_what_was_seen_is_no_answer(seen, damage, tmp_path):
    notes = list((tmp_path / "cache" / "registry").rglob("*.json"))
    assert len(notes) == 2
    for note in notes:
        note.write_bytes(damage)
    with pytest.raises(mf.StorageError):
        mf.load_model("churn", stage="production", store=seen)


def test_loading_again_asks_once_for_news_and_downloads_nothing(network):
    store = network.open()
    mf.register_model("churn", {"weights": [1, 2]}, stage="production", store=store)
    mf.load_model("churn", stage="production", store=store)
    before = len(network.requests)
    for _ in range(5):
        mf.load_model("churn", stage="production", store=store)
    # The catalog looks at the next slot.
    assert network.requests[before:] == ["GET"] * 5


def test_a_folder_keeps_no_notes(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOWISH_CACHE_DIR", str(tmp_path / "cache"))
    mf.register_model("churn", 1)
    mf.load_model("churn")
    assert not (tmp_path / "cache" / "registry").exists()
