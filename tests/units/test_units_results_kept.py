"""Results of a map over units, given back by a step: stored part by part, and without the files that were read."""

from pathlib import Path

import numpy as np
import pytest

import mlflowish as mf
from mlflowish.codecs import decode, encode
from mlflowish.units.keeping import ResultsCodec


class Own:
    def __init__(self, size):
        self.size = size


@mf.step
def size_of(file):
    return len(Path(file).read_text())


@mf.step
def array_of(file):
    return np.full(100_000, size_of(file))


@mf.step
def sizes_in(folder):
    return size_of.map(mf.files(f"{folder}/*.txt"))


@mf.step
def arrays_in(folder):
    return {"arrays": array_of.map(mf.files(f"{folder}/*.txt"))}


@mf.step
def same(results):
    return results


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a", "bb"):
        (tmp_path / "data" / f"{name}.txt").write_text(name)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def test_a_hit_gives_results_by_name_and_leaves_the_files_alone(store, folder):
    first = sizes_in(str(folder))
    (folder / "a.txt").write_text("edited since")
    (folder / "bb.txt").unlink()
    call = sizes_in.call(str(folder))
    assert call.hit
    assert (list(call.value), call.value.names) == ([1, 2], first.names)
    assert call.value[str(folder / "bb.txt")] == 2
    assert (folder / "a.txt").read_text() == "edited since"
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert [type(unit.value) for unit in call.value.units] == [mf.File, mf.File]


def test_each_large_result_is_an_object_of_its_own_and_no_pickle(tmp_path, folder):
    arrays_in(str(folder))
    with mf.Store(tmp_path / "store", allow_pickle=False) as careful:
        call = arrays_in.call(str(folder))
        assert call.hit
        assert [int(array[0]) for array in call.value["arrays"]] == [1, 2]
        (found,) = careful.calls("test_units_results_kept.arrays_in")
        entry = careful.entries(found.key)[0]
        assert (len(entry.objects), entry.executes_code) == (2, False)


def test_what_is_loaded_has_the_digest_of_what_was_stored(folder):
    results = size_of.map(mf.files(f"{folder}/*.txt"))
    kept = encode(results)
    assert kept.codec == "results"
    loaded = decode(kept.codec, kept.head, (), allow_pickle=False)
    assert (type(loaded), mf.digest(loaded)) == (mf.Results, mf.digest(results))
    assert same.call(loaded).key == same.call(results).key


def test_of_groups_and_of_own_classes_too(folder):
    def of_group(files):
        return Own(len(files))

    results = mf.step(of_group).map(mf.group(mf.files(f"{folder}/*.txt"), by=lambda unit: "all"))
    kept = encode(results)
    assert kept.executes_code
    loaded = decode(kept.codec, kept.head, (), allow_pickle=True)
    assert [own.size for own in loaded] == [own.size for own in results]
    assert [unit.name for unit in loaded.units] == [unit.name for unit in results.units]


def test_what_is_damaged_says_so(folder):
    for value in ([1, 2], ("plain", encode([1]).head), ("plain", encode(([], [1])).head)):
        with pytest.raises(mf.IntegrityError):
            ResultsCodec().decode(encode(value).head, (), allow_pickle=False)
