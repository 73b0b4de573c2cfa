"""Finding runs: the filter language, order, pages, groups, and fewer points of a series."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

import mlflowish as mf
from mlflowish.tracking.downsampling import downsampled
from mlflowish.tracking.filters import parse_filter


@pytest.fixture
def store(tmp_path):
    """Three runs: a (finished, loss 0.1), b (failed, loss 0.5), c (no loss, in another experiment)."""
    with mf.Store(tmp_path / "store") as store:
        with mf.start_run("a", experiment="one", tags={"team": "Vision", "odd key": "1"}) as run:
            mf.log_params({"lr": 0.1, "model": "resnet18"})
            mf.log_metrics({"loss": 0.3}, step=1)
            mf.log_metrics({"loss": 0.1, "val acc": 0.9}, step=2)
        with pytest.raises(ZeroDivisionError), mf.start_run("b", experiment="one", parent=run):
            mf.log_params({"lr": 0.2, "model": "vgg", "in": "x"})
            mf.log_metrics({"loss": 0.5, "val acc": math.nan})
            1 / 0
        with mf.start_run("c", experiment="two"):
            mf.log_params({"model": "it's"})
        yield store


def names(filter_string="", **options):
    return "".join(sorted(run.name for run in mf.search_runs(filter_string, **options)))


@pytest.mark.parametrize(
    ("filter_string", "expected"),
    [
        ("", "abc"),
        ("metrics.loss < 0.2", "a"),
        ("metrics.loss <= 0.5", "ab"),
        ("metric.loss != 0.1", "b"),
        ("metrics.loss > 1e-3 and params.lr = '0.2'", "b"),
        ("params.model LIKE 'res%'", "a"),
        ("params.model like 'v_g'", "b"),
        ("tags.team ilike 'VIS%'", "a"),
        ("tags.team LIKE 'VIS%'", ""),
        ("params.model IN ('vgg', 'other')", "b"),
        ("params.lr NOT IN ('0.2')", "a"),
        ("params.lr IS NULL", "c"),
        ("params.lr is not null", "ab"),
        ("params.lr != '0.1'", "b"),
        ("metrics.loss < 0.2 or run_name = 'c'", "ac"),
        ("not metrics.loss < 0.2", "bc"),
        ("not (metrics.loss < 0.2 or params.model = 'vgg')", "c"),
        ("metrics.loss < 0.2 and run_name = 'b' or run_name = 'c'", "c"),
        ("metrics.loss < 0.2 and (run_name = 'b' or run_name = 'a')", "a"),
        ("status = 'failed'", "b"),
        ("attributes.status = 'FINISHED'", "ac"),
        ('metrics."val acc" > 0.5', "a"),
        ("metrics.`val acc` = nan", "b"),
        ("tags.`odd key` = '1'", "a"),
        ("params.in = 'x'", "b"),
        ("params.model = 'it''s'", "c"),
        ('params.model = "it\'s"', "c"),
        (r"params.model = 'it\'s'", "c"),
        ("experiment = 'two'", "c"),
        ("parent_id is not null", "b"),
        ("start_time > 0 and end_time >= 0", "abc"),
        ("duration < 1000", "abc"),
    ],
)
def test_a_filter_finds_what_it_describes(store, filter_string, expected):
    assert names(filter_string) == expected


@pytest.mark.parametrize(
    ("filter_string", "message"),
    [
        ("metrics.loss == 1", "Compare with a single '='"),
        ("loss < 1", "metrics.loss"),
        ("params.lr < '3'", "compared with =, !=, LIKE"),
        ("params.lr = 1", "write params.lr = '1'"),
        ("metrics.loss = 'low'", "holds numbers"),
        ("metrics.loss like 'a'", "compares text"),
        ("metrix.loss < 1", "nearest is metrics"),
        ("datasets.size = 'a'", "name, digest, context"),
        ("metrics.loss <", "its end"),
        ("(metrics.loss < 1", "its end"),
        ("metrics.loss < 1 metrics.b < 2", "'metrics.b'"),
        ("status = finished", "'finished'"),
        ("params.a = 'open", "character 12"),
        ("a" * 5000, "its end"),
        ("(" * 2000 + "metrics.a<1" + ")" * 2000, None),
    ],
)
def test_a_filter_that_makes_no_sense_says_where(filter_string, message):
    if message is None:
        assert str(parse_filter(filter_string).field) == "metrics.a"
        return
    with pytest.raises(mf.InvalidInputError, match=message.replace("(", r"\(")):
        parse_filter(filter_string)


def test_an_experiment_is_a_name_or_several(store):
    assert (names(experiment="one"), names(experiment=["two", "one"]), names(experiment="none")) == ("ab", "abc", "")


def test_the_newest_run_comes_first(store):
    assert [run.name for run in mf.search_runs()] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (["metrics.loss asc"], "abc"),
        (["metrics.loss DESC"], "bac"),
        ("metrics.`val acc`", "abc"),
        (["metrics.`val acc` desc"], "abc"),
        (["params.model"], "cab"),
        (["params.model desc"], "bac"),
        (["experiment desc", "run_name"], "cab"),
        (["status", "start_time"], "bac"),
    ],
)
def test_order_puts_what_is_missing_last(store, order_by, expected):
    assert "".join(run.name for run in mf.search_runs(order_by=order_by)) == expected


def test_pages_follow_each_other(store):
    pages = [[run.name for run in mf.search_runs(order_by="run_name", limit=2, offset=at)] for at in (0, 2, 4)]
    assert pages == [["a", "b"], ["c"], []]


def test_deleted_runs_are_found_when_asked_for(store):
    mf.delete_run(mf.search_runs("run_name = 'a'")[0].run_id)
    assert (names(), names(deleted=True)) == ("bc", "abc")


@pytest.mark.parametrize("options", [{"limit": -1}, {"limit": 1.5}, {"offset": -2}, {"order_by": ["nonsense"]}])
def test_pages_and_orders_that_make_no_sense_are_refused(store, options):
    with pytest.raises(mf.InvalidInputError):
        mf.search_runs(**options)


def test_what_was_found_is_a_table(store):
    found = mf.search_runs("metrics.loss > 0", order_by="run_name")
    assert found.to_arrow().column_names[:6] == ["run_id", "name", "experiment", "status", "start_time", "end_time"]
    frame = found.to_pandas()
    assert frame["metrics.loss"].tolist() == [0.1, 0.5]
    assert frame["params.lr"].tolist() == ["0.1", "0.2"]
    assert found.column("tags.team") == ["Vision", None]
    assert "resnet18" in repr(found)
    assert "resnet18" in found._repr_html_()


def test_runs_of_a_search_are_whole_runs(store):
    [run] = mf.search_runs("run_name = 'a'")
    assert run.metric_history("loss")["value"].to_pylist() == [0.3, 0.1]


def test_groups_count_and_summarise(store):
    table = mf.search_runs().group_by("experiment", best="min(metrics.loss)", tried="count(metrics.loss)")
    assert [tuple(row.values()) for row in table] == [("one", 2, 0.1, 2), ("two", 1, None, 0)]


@pytest.mark.parametrize("asked", ["min", "avg(metrics.loss)", "mean(params.lr)", 3])
def test_an_aggregate_that_makes_no_sense_is_refused(store, asked):
    with pytest.raises(mf.InvalidInputError):
        mf.search_runs().group_by("experiment", best=asked)


def series(values):
    rows = len(values)
    return pa.table({"step": pa.array(range(rows), pa.int64()), "value": pa.array(values, pa.float64())})


def test_fewer_points_keep_ends_peaks_and_what_is_no_number():
    values = [math.sin(number / 500) for number in range(100_000)]
    values[31_415], values[27_182] = 50.0, math.nan
    few = downsampled(series(values), 400)
    assert 100 < few.num_rows <= 401
    kept = few["value"].to_pylist()
    assert (kept[0], kept[-1], max(v for v in kept if v == v)) == (values[0], values[-1], 50.0)
    assert any(math.isnan(value) for value in kept)
    assert few["step"].to_pylist() == sorted(few["step"].to_pylist())


def test_a_short_series_keeps_all_its_points():
    assert downsampled(series([1.0, 2.0]), 10).num_rows == 2


def test_too_few_points_are_refused():
    with pytest.raises(mf.InvalidInputError, match="4 or more"):
        downsampled(series([1.0] * 9), 1)


def test_the_history_of_a_run_comes_in_as_many_points_as_are_asked_for(store):
    with mf.start_run("long", experiment="long") as run:
        for step in range(1000):
            mf.log_metric("loss", 1 / (step + 1), step=step)
    assert run.metric_history("loss", points=40)["value"].to_pylist()[0] == 1.0
    assert run.metric_history("loss", points=40).num_rows <= 40
