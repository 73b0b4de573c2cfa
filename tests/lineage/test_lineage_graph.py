"""The graph of calls and data: what joins two calls, what does not, and what a walk finds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import mlflowish as mf


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as store:
        yield store


@mf.step
def load(n):
    return np.arange(n, dtype="float64")


@mf.step
def split(rows):
    return rows[: len(rows) // 2].copy(), rows[len(rows) // 2 :].copy()


@mf.step
def train(rows, lr=0.1):
    return {"weights": rows * lr}


@mf.step
def evaluate(model, rows):
    return float((model["weights"] * rows).sum())


@mf.step
def total(parts):
    return float(sum(part.sum() for part in parts))


@mf.step
def one():
    return 1


@mf.step
def plus(x):
    return x + 1


@mf.step
def nested(n):
    return load(n).sum() + one()


def labels(lineage):
    return sorted(facts["label"] for _, facts in lineage.graph.nodes(data=True))


def edges(lineage):
    label = {node: facts["label"] for node, facts in lineage.graph.nodes(data=True)}
    return sorted((label[a], label[b], facts["role"]) for a, b, facts in lineage.graph.edges(data=True))


def pipeline():
    first, second = split(load(10))
    return evaluate.call(train(first, lr=0.5), second)


def test_what_is_behind_a_result_are_the_calls_whose_results_went_into_it():
    assert edges(mf.lineage.of(pipeline())) == [
        ("load", "split", "rows"),
        ("split", "evaluate", "rows"),
        ("split", "train", "rows"),
        ("train", "evaluate", "model"),
    ]


def test_a_pipeline_that_is_read_back_has_the_same_lineage():
    first = edges(mf.lineage.of(pipeline()))
    again = pipeline()
    assert again.hit
    assert edges(mf.lineage.of(again)) == first


def test_a_result_is_known_by_itself():
    model = train(load(4))
    assert labels(mf.lineage.of(model)) == ["load", "train"]


def test_a_result_that_was_read_back_is_known_by_itself():
    load(4)
    assert mf.lineage.of(load(4)).roots == (f"call:{load.call(4).key}",)


def test_equal_numbers_join_nothing():
    assert one() == 1
    assert labels(mf.lineage.of(plus.call(1))) == ["plus"]


def test_equal_arrays_that_two_calls_made_apart_join_nothing():
    load(6)
    assert labels(mf.lineage.of(train.call(np.arange(6, dtype="float64")))) == ["ndarray float64 (6,)", "train"]


def test_results_inside_a_list_join_the_calls():
    behind = mf.lineage.of(total.call([load(3), load(4)]))
    assert edges(behind) == [("load", "total", "parts"), ("load", "total", "parts")]


def test_a_list_of_results_and_other_data_has_both_behind_it():
    behind = mf.lineage.of(total.call([np.ones(2), load(4)]))
    assert [role for _, _, role in edges(behind)] == ["parts", "parts[1]"]


def test_a_call_made_inside_another_is_behind_it():
    @mf.step
    def outer(n):
        return float(load(n).sum())

    assert edges(mf.lineage.of(outer.call(5))) == [("load", "outer", "inside")]


def test_downstream_finds_what_was_made_of_a_result():
    pipeline()
    behind = mf.lineage.of(load.call(10)).downstream()
    assert labels(behind) == ["evaluate", "load", "split", "train"]


def test_downstream_of_a_file_finds_every_result_that_saw_it(tmp_path):
    @mf.step
    def size(file):
        return len(Path(file).read_bytes())

    (tmp_path / "a.csv").write_text("x\n1\n")
    key = size.call(mf.File(tmp_path / "a.csv")).key
    (tmp_path / "copy.csv").write_text("x\n1\n")
    assert f"call:{key}" in mf.lineage.of(mf.File(tmp_path / "copy.csv")).downstream()


def test_what_a_call_was_told_in_so_many_words_stands_with_it():
    behind = mf.lineage.of(train.call(load(4), lr=0.25))
    [told] = [facts["parameters"] for _, facts in behind.graph.nodes(data=True) if facts["label"] == "train"]
    assert told == {"lr": "0.25"}


def test_a_walk_stops_at_its_limit_and_says_so():
    behind = mf.lineage.of(pipeline())
    assert len(behind.upstream(limit=2)) == 2
    assert behind.upstream(limit=2).truncated
    assert not behind.upstream().truncated
    assert labels(behind.upstream(depth=1)) == ["evaluate", "split", "train"]


def test_a_chain_longer_than_the_stack_is_walked():
    @mf.step
    def grown(rows):
        return rows + 1

    rows = load(2)
    for _ in range(1500):
        rows = grown(rows)
    assert len(mf.lineage.of(rows)) == 1501


def test_lineage_is_the_same_in_another_process(tmp_path):
    script = tmp_path / "chain.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import mlflowish as mf
            @mf.step
            def first(n): return list(range(n))
            @mf.step
            def second(xs): return [x + 1 for x in xs]
            call = second.call(first(3))
            if "look" in sys.argv:
                print(len(mf.lineage.of(call.key)), call.hit)
            """
        )
    )
    env = {**os.environ, "MLFLOWISH_STORE": str(tmp_path / "shared")}
    run = [sys.executable, str(script)]
    subprocess.run(run, env=env, check=True)
    done = subprocess.run([*run, "look"], env=env, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "True"]


def test_a_forgotten_call_is_still_named():
    result = pipeline()
    load.forget()
    assert "no longer stored" in labels(mf.lineage.of(result))


def test_code_is_what_the_calls_depended_on():
    names = mf.lineage.of(pipeline()).code().column("name")
    assert {name.rpartition(".")[2] for name in names} >= {"load", "split", "train", "evaluate"}


def test_data_is_what_came_from_outside():
    outside = mf.lineage.of(train.call(np.ones(3))).data()
    assert outside.column("argument") == ["rows"]
    assert outside.column("digest") == [mf.digest(np.ones(3))]


def test_a_value_that_nothing_made_is_not_found():
    with pytest.raises(mf.NotFoundError, match="No call in"):
        mf.lineage.of(np.ones(77))


def test_a_bare_number_is_refused():
    with pytest.raises(mf.InvalidInputError, match="says nothing"):
        mf.lineage.of(4)


def test_an_uncached_call_says_why_it_is_not_known():
    @mf.step(cache=False)
    def now():
        return 1

    with pytest.raises(mf.NotFoundError, match="cache=False"):
        mf.lineage.of(now.call())


def test_why_two_results_differ_is_told_by_step():
    def made(n, lr):
        return mf.lineage.of(train.call(load(n), lr=lr))

    assert [(step.rpartition(".")[2], d.kind, d.name, d.old, d.new) for step, d in made(4, 0.1).diff(made(5, 0.2))] == [
        ("load", "parameter", "n", "4", "5"),
        ("train", "parameter", "lr", "0.1", "0.2"),
    ]


def test_the_same_lineage_differs_in_nothing():
    assert str(mf.lineage.of(pipeline()).diff(mf.lineage.of(pipeline()))) == "same code, same parameters, same data"


def test_a_changed_helper_is_told_with_both_sources(monkeypatch):
    def scaled(x):
        return x * 2

    def other(x):
        return x * 3

    helper = [scaled]

    @mf.step
    def use(x):
        return helper[0](x)

    one_side = mf.lineage.of(use.call(2))
    helper[0] = other
    [(_, found)] = [d for d in one_side.diff(mf.lineage.of(use.call(2))) if d[1].kind == "function"][:1]
    assert "x * 2" in found.old or "x * 3" in found.new


def test_a_run_has_its_calls_behind_it_hits_too():
    first = load(10)
    with mf.start_run("training") as run:
        train(load(10), lr=0.3)
        assert load(10) is not first
    behind = mf.lineage.of(run)
    assert labels(behind) == ["load", "train", "training"]
    assert ("train", "training", "call") in edges(behind)


def test_downstream_of_data_reaches_what_the_catalog_says_was_made(store):
    key = train.call(load(7)).key

    def register(tx):
        tx.put("models/versions/churn/000000003", {"source": {"key": key}, "stage": "production"})

    store.transact(register)
    reached = mf.lineage.of(load.call(7)).downstream()
    assert reached.graph.nodes["models/versions/churn/000000003"]["label"] == "churn 3"
    assert reached.graph.nodes["models/versions/churn/000000003"]["stage"] == "production"


def test_a_thing_may_say_itself_what_it_is_made_of():
    class Thing:
        def __lineage__(self):
            return "things/1", "thing", "my thing", {"colour": "red"}, (key,)

    key = train.call(load(3)).key
    behind = mf.lineage.of(Thing())
    assert labels(behind) == ["load", "my thing", "train"]
    assert behind.graph.nodes["things/1"]["colour"] == "red"


def test_an_address_of_the_registry_is_a_model_version():
    from mlflowish.lineage import of

    mf.register_model("plus", plus(one()), stage="production")
    by_address = mf.lineage.of("models:/plus/production")
    assert by_address.roots == of("models:/plus/1").roots == mf.lineage.of(mf.registry.get("plus")).roots
    with pytest.raises(mf.NotFoundError, match="minus"):
        mf.lineage.of("models:/minus/1")


def test_the_way_down_is_the_same_whether_it_is_looked_up_or_read(store):
    def shape(lineage):
        return {node: facts["label"] for node, facts in lineage.graph.nodes(data=True)}, set(lineage.graph.edges)

    table = np.arange(6.0)
    evaluate(train(table, lr=0.5), split(load(12))[0])
    nested(3)
    total([load(4), table])
    roots = [call.key.hex() for call in store.calls()] + [mf.digest(table)]
    found = [shape(mf.lineage.of(root, store=store).downstream()) for root in roots]
    # A store of an earlier version has no uses, so all of its calls are read.
    from mlflowish.store.entries import USE

    older = mf.Store(store.url + "-older")
    older.create()
    for kind in ("calls", "fingerprints"):
        for key, payload in store.journals(kind).scan():
            if payload[:1] != USE or kind != "calls":
                older.journals(kind).append(key, payload)
    assert [shape(mf.lineage.of(root, store=older).downstream()) for root in roots] == found
    assert max(len(edges) for _, edges in found) == 2
    older.close()


def test_a_look_up_leads_to_no_call_that_was_forgotten(store):
    rows = load(5)
    key = train.call(rows, lr=0.25).key
    train.forget(rows, lr=0.25)
    assert f"call:{key}" not in mf.lineage.of(load.call(5)).downstream()
