"""Files of runs: what goes in comes out, and no path leads out."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from far_storage import FarStorage
from PIL import Image

import mlflowish as mf
from mlflowish.errors import IntegrityError, InvalidInputError, NotFoundError
from mlflowish.maintenance import fsck
from mlflowish.storage import ObjectRef, ObjectStore
from mlflowish.tracking import artifact_refs
from mlflowish.tracking.artifacts import Artifacts
from mlflowish.tracking.folding import Artifact

HOSTILE = ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "", "a\\b", "C:/x", "a\x00b", "a\nb", "x" * 1001]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "er" / "b.bin").write_bytes(b"\x00\x01")
    return folder


def test_a_file_is_stored_as_it_was_at_that_moment(store: mf.Store, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("before")
    with mf.start_run() as run:
        mf.log_artifact(file)
        file.write_text("after")
        mf.log_artifact(str(file), "later/on")
    assert {path: run.artifacts.text(path) for path in run.artifacts.paths()} == {
        "a.txt": "before",
        "later/on/a.txt": "after",
    }


def test_a_folder_is_stored_with_its_tree(store: mf.Store, files: Path) -> None:
    with mf.start_run() as run:
        mf.log_artifacts(files, "all")
        mf.log_artifact(files)
    assert run.artifacts.paths() == ["all/a.txt", "all/deep/er/b.bin", "report/a.txt", "report/deep/er/b.bin"]
    assert run.artifacts.list_folder() == ["all/", "report/"]
    assert run.artifacts.list_folder("all") == ["a.txt", "deep/"]


def test_equal_content_is_stored_once(store: mf.Store, folder: Path) -> None:
    with mf.start_run():
        for number in range(5):
            mf.log_text("the same", f"{number}.txt")
    assert len(list((folder / "objects").rglob("??????????*"))) == 1


def test_artifacts_are_downloaded_under_their_paths(store: mf.Store, files: Path, tmp_path: Path) -> None:
    with mf.start_run() as run:
        mf.log_artifacts(files, "all")
    assert (run.artifacts.download("all/a.txt", tmp_path / "one")).read_text() == "a"
    whole = run.artifacts.download("all", tmp_path / "two")
    assert (whole / "deep" / "er" / "b.bin").read_bytes() == b"\x00\x01"
    assert (run.artifacts.download() / "all" / "a.txt").read_text() == "a"
    with run.artifacts.open("all/a.txt") as file:
        assert file.read() == b"a"


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leads_out_is_refused(store: mf.Store, tmp_path: Path, path: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    with mf.start_run() as run:
        with pytest.raises(InvalidInputError, match="The path of an artifact"):
            mf.log_text("x", path)
        if path:
            with pytest.raises(InvalidInputError, match="The path of an artifact"):
                mf.log_artifact(tmp_path / "a.txt", path)
    assert run.artifacts.paths() == []


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_a_path_from_a_store_is_checked_before_a_file_is_written(store: mf.Store, tmp_path: Path, path: str) -> None:
    store.create()
    ref = store.objects.put(b"evil")
    artifacts = Artifacts(store, "00" * 16, [Artifact(path, ref)])
    with pytest.raises(InvalidInputError, match="The path of an artifact"):
        artifacts.download("", tmp_path / "in" / "here")
    assert list(tmp_path.rglob("x")) == []


def test_a_link_in_the_way_is_not_followed_out(store: mf.Store, tmp_path: Path) -> None:
    with mf.start_run() as run:
        mf.log_text("evil", "out/x")
    (tmp_path / "target").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "out").symlink_to(tmp_path / "target")
    with pytest.raises(InvalidInputError, match="through a link"):
        run.artifacts.download("out/x", tmp_path / "here")
    assert list((tmp_path / "target").iterdir()) == []


def test_what_is_missing_is_not_found_and_the_nearest_is_named(store: mf.Store, tmp_path: Path) -> None:
    with mf.start_run() as run:
        mf.log_text("x", "notes.txt")
        with pytest.raises(NotFoundError, match="There is no file"):
            mf.log_artifact(tmp_path / "absent.txt")
        with pytest.raises(NotFoundError, match="There is no folder"):
            mf.log_artifacts(tmp_path / "absent")
    with pytest.raises(NotFoundError, match=r"nearest are notes\.txt"):
        run.artifacts.read("note.txt")


def test_dictionaries_are_json_or_yaml(store: mf.Store) -> None:
    import yaml

    value = {"a": [1, 2.5], "n": np.int64(3), "x": np.arange(2), "ü": None}
    with mf.start_run() as run:
        mf.log_dict(value, "d.json")
        mf.log_dict(value, "d.yaml")
        with pytest.raises(InvalidInputError, match="cannot be written as JSON"):
            mf.log_dict({"f": object()}, "no.json")
    expected = {"a": [1, 2.5], "n": 3, "x": [0, 1], "ü": None}
    assert json.loads(run.artifacts.read("d.json")) == expected
    assert yaml.safe_load(run.artifacts.read("d.yaml")) == expected


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}),
        pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}),
        pa.table({"x": [1, 2], "y": ["a", "b"]}),
        {"x": np.array([1, 2]), "y": ["a", "b"]},
        [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}],
        mf.Table(("x", "y"), [(1, "a"), (2, "b")]),
    ],
    ids=lambda table: type(table).__name__,
)
def test_tables_of_every_kind_are_parquet_json_and_csv(store: mf.Store, table: object) -> None:
    with mf.start_run() as run:
        for suffix in ("parquet", "json", "csv"):
            mf.log_table(table, f"t.{suffix}")
        with pytest.raises(InvalidInputError, match="A table is stored as"):
            mf.log_table(table, "t.xls")
    expected = {"x": [1, 2], "y": ["a", "b"]}
    assert pq.read_table(io.BytesIO(run.artifacts.read("t.parquet"))).to_pydict() == expected
    assert json.loads(run.artifacts.read("t.json")) == [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    assert run.artifacts.text("t.csv").split() == ['"x","y"', '1,"a"', '2,"b"']


def test_figures_of_matplotlib_and_plotly_are_stored(store: mf.Store) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import plotly.graph_objects as go

    figure, axes = plt.subplots()
    axes.plot([1, 2])
    with mf.start_run() as run:
        mf.log_figure(figure, "f.png", dpi=40)
        mf.log_figure(figure, "f.svg")
        mf.log_figure(go.Figure(go.Scatter(y=[1, 2])), "p.html")
        mf.log_figure(go.Figure(go.Scatter(y=[1, 2])), "p.json")
        with pytest.raises(InvalidInputError, match="matplotlib or plotly"):
            mf.log_figure(object(), "o.png")
    plt.close(figure)
    assert Image.open(io.BytesIO(run.artifacts.read("f.png"))).format == "PNG"
    assert "<svg" in run.artifacts.text("f.svg")
    assert "plotly" in run.artifacts.text("p.html")
    assert json.loads(run.artifacts.read("p.json"))["data"][0]["y"] == [1, 2]


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (np.full((2, 3), 0.5), 128),
        (np.full((2, 3), 7, dtype=np.uint8), 7),
        (np.full((2, 3, 1), True), 255),
        (np.full((2, 3, 3), 9), (9, 9, 9)),
        (Image.new("L", (3, 2), 5), 5),
    ],
)
def test_images_are_arrays_or_pictures(store: mf.Store, image: object, pixel: object) -> None:
    with mf.start_run() as run:
        mf.log_image(image, "i.png")
    found = Image.open(io.BytesIO(run.artifacts.read("i.png")))
    assert (found.size, found.getpixel((0, 0))) == ((3, 2), pixel)


@pytest.mark.parametrize("image", [np.full((2, 2), 2.0), np.full((2, 2), 256), np.zeros((2, 2, 5)), np.zeros(3), "x"])
def test_what_is_no_image_is_refused(store: mf.Store, image: object) -> None:
    with mf.start_run(), pytest.raises(InvalidInputError):
        mf.log_image(image, "i.png")


def test_a_series_of_images_has_its_key_and_steps(store: mf.Store) -> None:
    with mf.start_run() as run:
        for step in (10, 2):
            mf.log_image(np.zeros((2, 2)), key="val/sample one", step=step)
        with pytest.raises(InvalidInputError, match="one of the two"):
            mf.log_image(np.zeros((2, 2)), "a.png", key="b")
    assert [image.step for image in run.artifacts.images("val/sample one")] == [2, 10]


def test_the_objects_of_a_run_are_named_for_collections(store: mf.Store) -> None:
    with mf.start_run() as run:
        mf.log_text("one", "1.txt")
        ref = store.objects.put(b"manifest")
        run.log_stored_model("model", ref, flavor="sklearn")
    assert set(artifact_refs(store)) == {run.artifacts["1.txt"].ref, ref}
    assert [(model.name, model.manifest, model.flavor) for model in run.models] == [("model", ref, "sklearn")]
    mf.delete_run(run.run_id)
    assert set(artifact_refs(store)) == {run.artifacts["1.txt"].ref, ref}
    assert list(artifact_refs(store, deleted=False)) == []


def test_a_collection_keeps_the_files_of_runs(store: mf.Store) -> None:
    from mlflowish.maintenance.reach import named_objects

    with mf.start_run() as run:
        mf.log_text("kept", "a.txt")
    assert run.artifacts["a.txt"].ref.name in set(named_objects(store, 0.0))


def test_a_store_with_open_runs_is_whole(store: mf.Store) -> None:
    with mf.start_run():
        mf.log_text("kept", "a.txt")
        mf.log_metric("x", 1)
        assert [finding.code for finding in fsck(store).findings] == []


def test_a_bucket_to_which_files_of_a_run_are_on_their_way_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REMOTE_S", "REMOTE_SLOWEST_S"):
        monkeypatch.setattr(f"mlflowish.tracking.mover.{name}", 3600.0)
    store = mf.Store(f"memory://{uuid.uuid4().hex}")
    store.storage = FarStorage(f"far-{uuid.uuid4().hex}")
    store.objects = ObjectStore(store.storage)
    store.create()
    with mf.start_run(store=store) as run:
        mf.log_text("kept", "a.txt")
        assert not store.objects.contains(run.artifacts["a.txt"].ref)
        assert fsck(store).findings == ()


def test_damaged_content_is_an_error_and_not_an_answer(store: mf.Store, folder: Path) -> None:
    with mf.start_run() as run:
        mf.log_text("kept", "a.txt")
    file = folder / run.artifacts["a.txt"].ref.path
    file.chmod(0o644)
    file.write_bytes(b"tampe"[:4])
    with pytest.raises(IntegrityError):
        run.artifacts.read("a.txt")


def test_an_object_that_is_being_collected_is_stored_under_another_name(store: mf.Store) -> None:
    store.create()
    ref = store.objects.put(b"doomed text")
    store.dooms.announce([ref.name])
    with mf.start_run() as run:
        mf.log_text("doomed text", "a.txt")
    assert run.artifacts["a.txt"].ref != ObjectRef(ref.name, ref.size_bytes)
    assert run.artifacts.text("a.txt") == "doomed text"
