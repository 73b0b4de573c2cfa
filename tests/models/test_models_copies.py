"""A small model that is loaded again and again is copied from memory: nothing of what a load promises may suffer."""

from __future__ import annotations

import operator
import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import sklearn
from processes_heard import end_fork
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression

import mlflowish as mf
from mlflowish.models import store_model
from mlflowish.models.copies import LARGEST_BYTES, Copies, copies

X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20) % 2
NONE = frozenset()


class Tagged(BaseEstimator):
    """A class of the project."""

    def __init__(self, tag: str = "") -> None:
        self.tag = tag


@pytest.fixture(autouse=True)
def _anew():
    copies.forget()
    yield
    copies.forget()


@pytest.fixture
def model():
    return LogisticRegression().fit(X, Y)


def load_often(stored, **policy):
    """The last of so many loads that the model is a copy by then, if it is ever to be one."""
    for _ in range(3):
        loaded = stored.load(**policy)
    return loaded


def test_a_model_is_copied_from_the_third_load_on_and_each_is_equal(store, model):
    stored = store_model(store, model)
    sizes = []
    for _ in range(4):
        assert mf.digest(stored.load()) == stored.manifest.digest
        sizes.append(copies.size_bytes)
    assert sizes[0] == 0 < sizes[1] == sizes[2] == sizes[3]


def test_changing_a_loaded_model_changes_no_other(store, model):
    stored = store_model(store, model)
    loaded = []
    for _ in range(5):
        one = stored.load()
        assert mf.digest(one) == stored.manifest.digest
        one.coef_[:] = 7
        one.classes_ = one.classes_[::-1]
        one.set_params(C=9.0)
        loaded.append(one.native)
    assert len({id(one) for one in loaded}) == len({id(one.coef_) for one in loaded}) == 5


def test_models_that_share_an_array_within_share_it_in_a_copy(store):
    model = LogisticRegression().fit(X, Y)
    model.again_ = model.coef_
    first = store_model(store, model).load().native
    third = load_often(store_model(store, model)).native
    assert (first.coef_ is first.again_) == (third.coef_ is third.again_)


@pytest.mark.parametrize("damage", ["gone", "damaged", "cut"])
def test_what_happens_to_the_file_is_noticed_by_the_next_load(store, tmp_path, model, damage):
    stored = store_model(store, model)
    load_often(stored)
    path = tmp_path / "store" / stored.manifest.files[0].ref.path
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"x" * (path.stat().st_size - (damage == "cut")))
    with pytest.raises(mf.NotFoundError if damage == "gone" else mf.IntegrityError):
        stored.load()


def test_bytes_that_were_changed_without_a_trace_are_not_answered_from_memory(tmp_path, model):
    trusting = mf.Store(tmp_path / "store", verify="never")
    stored, other = store_model(trusting, model), store_model(trusting, LogisticRegression(C=2.0).fit(X, Y))
    load_often(stored)
    paths = [tmp_path / "store" / each.manifest.files[0].ref.path for each in (stored, other)]
    content = paths[1].read_bytes()
    assert len(content) == paths[0].stat().st_size
    paths[0].write_bytes(content)
    assert mf.digest(stored.load()) == other.manifest.digest  # as it was before: what the file holds


def test_a_policy_is_asked_at_each_load(store):
    stored = store_model(store, RandomForestClassifier(2).fit(X, Y))
    assert copies.size_bytes == 0
    load_often(stored, allow_pickle=True)
    assert copies.size_bytes > 0
    tree = "sklearn.tree._tree.Tree"
    for policy in ({}, {"trusted": ["sklearn.tree._tree.Other"]}):
        with pytest.raises(mf.CapabilityError, match=r"Tree.*allow_pickle=False") as caught:
            stored.load(allow_pickle=False, **policy)
        assert caught.value.types == [tree]
    assert mf.digest(stored.load(allow_pickle=False, trusted=[tree])) == stored.manifest.digest
    closed = mf.Store(store.url, allow_pickle=False)
    with pytest.raises(mf.CapabilityError, match="Tree"):
        mf.models.open_model(closed, stored.manifest_ref).load(allow_pickle=True)


def test_a_class_of_the_project_is_the_one_that_it_is_now(store, monkeypatch):
    stored = store_model(store, Tagged("a"))
    load_often(stored)
    assert copies.size_bytes == 0

    class New(Tagged):
        pass

    New.__qualname__ = New.__name__ = "Tagged"
    monkeypatch.setattr(f"{__name__}.Tagged", New)
    assert type(stored.load()) is New


def test_another_version_of_the_library_is_warned_of_at_each_load(store, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sklearn, "__version__", "0.99")
        patch.setattr("sklearn.base.__version__", "0.99")
        stored = store_model(store, model)
    assert stored.manifest.libraries["sklearn"] == "0.99"
    for _ in range(4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stored.load()
        assert {each.category for each in caught} == {InconsistentVersionWarning, mf.ModelWarning}


def test_threads_that_load_and_change_get_models_of_their_own(store, model):
    stored = store_model(store, model)

    def use(number: int) -> bool:
        one = stored.load()
        is_whole = mf.digest(one) == stored.manifest.digest
        one.coef_[:] = number
        return is_whole and bool((one.coef_ == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_loads_though_another_thread_held_the_lock(store, model):
    stored = store_model(store, model)
    load_often(stored)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with copies._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12+: fork with threads is what is tested
            child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(300)  # the end of one that waits for the lock
            end_fork(lambda: mf.digest(load_often(stored)) == stored.manifest.digest and copies.size_bytes > 0)
        assert os.waitpid(child, 0) == (child, 0)
    finally:
        done.set()
        holder.join()


class Counted:
    """A model whose buildings are counted."""

    def __init__(self, size_bytes: int = 100) -> None:
        self.count, self.content = 0, b"m" * size_bytes

    def __call__(self) -> bytes:
        self.count += 1
        return self.content


def ask(kept: Copies, data: bytes, build: Counted, times: int = 3, types=lambda: NONE) -> int:
    """How many of so many calls did build."""
    before = build.count
    for _ in range(times):
        assert kept.built(data, build, types=types, permits=lambda types: True) == build.content
    return build.count - before


def test_memory_is_bounded_and_what_was_not_asked_for_longest_goes():
    kept, builds = Copies(most_bytes=500), [Counted() for _ in range(9)]
    for number in range(8):
        assert ask(kept, b"%d" % number, builds[number]) == 2
        assert ask(kept, b"0", builds[0], 1) == 0  # stays, as it is in use
        assert kept.size_bytes <= 500
    assert ask(kept, b"7", builds[7], 1) == 0
    assert ask(kept, b"1", builds[1], 3) == 3 - 1  # forgotten, so it begins anew


@pytest.mark.parametrize(
    ("data", "size_bytes", "types"),
    [
        (b"d" * (LARGEST_BYTES + 1), 10, lambda: NONE),
        (b"d", LARGEST_BYTES + 1, lambda: NONE),
        (b"d", 10, lambda: None),
        (b"d", 10, lambda: 1 / 0),
    ],
    ids=["large file", "large model", "not to be kept", "types cannot be told"],
)
def test_what_is_not_kept_is_built_each_time(data, size_bytes, types):
    kept, build = Copies(), Counted(size_bytes)
    assert ask(kept, data, build, 5, types) == 5
    assert kept.size_bytes == 0


class Changing:
    """Whatever is pickled of it is another one."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __reduce__(self):
        return Changing, (self.number + 1,)


def test_what_does_not_survive_pickling_is_built_each_time():
    kept = Copies()
    for number, one in enumerate([lambda: None, Changing(), threading.Lock()]):
        build = partial(operator.getitem, [one], 0)
        for _ in range(4):
            assert kept.built(b"%d" % number, build, types=lambda: NONE, permits=lambda types: True) is one
    assert kept.size_bytes == 0
