"""Recorded code on recorded inputs, after everything around it has changed."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import reproduced_project

import mlflowish as mf

STEPS = {
    "shop.steps.priced", "shop.steps.Shop.doubled", "train.located", "train.load", "train.split", "train.train",
    "train.total", "train.mixed", "train.outer", "train.inner", "train.items", "train.later", "train.seeded",
    "train.judged", "shop.boxes.boxed", "shop.scales.weighed", "train.measured", "train.make.added", "less",
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that ran, and was changed afterwards in every file."""
    folder = tmp_path_factory.mktemp("project")
    reproduced_project.make(folder)
    for path in (folder / "src").rglob("*.py"):
        path.write_text("raise RuntimeError('this is the code of today')\n", encoding="utf-8")
    (folder / "src" / "outside.txt").write_text("2.0")
    return folder


@pytest.fixture(scope="module")
def again(project):
    """The whole run, once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRODUCTION_DIES", "1")
        patch.syspath_prepend(project / "lib")
        patch.chdir(project / "src")
        return mf.reproduce(run_of(project / "store"), store=project / "store")


def run_of(store):
    (run,) = mf.search_runs(store=store)
    return run


def key_of(store, step):
    """The key of the oldest call of a step."""
    calls = mf.Store(store).calls(step)
    return min(calls, key=lambda call: call.created_s).key.hex()


def called(again, step):
    return next(call for call in again if call.step == step)


def test_all_calls_of_a_run_are_run_again_in_order_with_the_code_that_they_had(again):
    assert {call.step: call.outcome for call in again if call.step in STEPS} == dict.fromkeys(STEPS, "same")
    assert [call.step for call in again][:5] == [
        "shop.steps.priced", "shop.steps.Shop.doubled", "train.located", "train.located", "train.load"
    ]  # fmt: skip
    assert again.outcome == "different"
    assert not again


def test_code_and_packages_that_are_the_same_are_not_called_different(again):
    told = {(d.kind, d.name) for call in again if call.outcome == "same" for d in call.differences}
    assert told == {("secret", "shop.rates")}


def test_what_is_left_to_chance_is_told_from_what_changed(again):
    chance, outside = called(again, "train.chance"), called(again, "train.outside")
    assert (chance.outcome, chance.is_deterministic) == ("different", False)
    assert "it is not deterministic" in chance.why
    assert (outside.outcome, outside.is_deterministic) == ("different", True)
    assert "something that is not recorded" in outside.why


def test_how_far_numbers_are_apart_is_measured(again):
    far = called(again, "train.outside").distance
    assert (far.absolute, far.relative, far.place) == (0.5, 0.25, "[1]")


def test_a_check_raises_for_what_came_out_otherwise(again):
    with pytest.raises(mf.NotDeterministicError, match=r"train\.chance") as caught:
        again.check()
    assert caught.value.reproduction is again


def test_an_argument_that_is_not_recorded_is_named(again):
    call = called(again, "train.of_frame")
    assert call.outcome == "not possible"
    assert "df (ndarray float64 (4,): its value is not recorded). Pass it: reproduce(..., df=...)" in call.why


@pytest.mark.parametrize(("step", "told"), [("train.logged_in", "password"), ("train.global_secret", "PASSWORD")])
def test_secrets_are_not_recorded_and_asked_for(again, step, told):
    call = called(again, step)
    assert call.outcome == "not possible"
    assert "sounds like a secret" in call.why
    assert told in call.why


def test_no_secret_is_in_the_store(project):
    from mlflowish.steps.code import KeptCode, source_text

    store = mf.Store(project / "store")
    kept = [KeptCode.unpacked(payload) for _, payload in store.journals("code").scan() if payload[:1] == b"\x01"]
    texts = [code.page for code in kept]
    texts += [source_text(store, digest) for code in kept for digest in code.modules.values()]
    calls = [repr(call.meta) for call in store.calls()]
    assert any("RATE = 3" in text for text in texts)
    assert not [text for text in texts + calls if "secret" in text and "very-secret" in text]
    assert not [text for text in texts + calls if "hunter2" in text or "pass-phrase" in text]


def test_what_raises_and_what_kills_the_process_is_told_and_the_others_go_on(again):
    assert called(again, "train.raises").why == "it raised OSError: no such luck"
    died = called(again, "train.dies")
    assert (died.outcome, died.why) == ("not possible", "the process that ran it ended with exit code 7")
    assert [call.step for call in again][-1] == "train.inner"
    assert again.calls[-1].outcome == "same"


def test_nothing_is_written_to_the_store(project, again):
    store = mf.Store(project / "store")
    assert len(mf.search_runs(store=store)) == 1
    assert len({call.key for call in store.calls("train.inner")}) == len(list(store.calls("train.inner"))) == 3


def test_a_file_that_changed_is_told(project, again, tmp_path):
    assert called(again, "train.of_file").outcome == "same"
    key = key_of(project / "store", "train.of_file")
    words = project / "src" / "words.txt"
    kept = words.read_bytes()
    try:
        words.write_text("other words")
        (call,) = mf.reproduce(key, store=project / "store")
        assert call.outcome == "not possible"
        assert "words.txt') is not what it was" in call.why
        (tmp_path / "elsewhere.txt").write_bytes(kept)
        assert mf.reproduce(key, file=mf.File(tmp_path / "elsewhere.txt"), store=project / "store").check()
    finally:
        words.write_bytes(kept)


def test_an_argument_can_be_passed_and_must_be_what_it_was(project):
    key = key_of(project / "store", "train.of_frame")
    assert mf.reproduce(key, df=np.ones(4), store=project / "store").outcome == "same"
    with pytest.raises(mf.InvalidInputError, match="df= is not what the call was given"):
        mf.reproduce(key, df=np.ones(5), store=project / "store")


def test_results_that_were_dropped_are_computed_on_the_way(project, tmp_path):
    shutil.copytree(project / "store", tmp_path / "store")
    store = mf.Store(tmp_path / "store")
    for step in ("train.load", "train.split"):
        for call in list(store.calls(step)):
            store.forget(call.key, [call.id], step=step)
    again = mf.reproduce(key_of(project / "store", "train.total"), store=store)
    assert [(call.step, call.outcome) for call in again] == [("train.total", "same")]


def test_a_package_with_another_version_is_told(project, monkeypatch, tmp_path):
    shutil.copytree(project / "lib", tmp_path / "lib")
    (tmp_path / "lib" / "unitlib" / "__init__.py").write_text("def unit(x):\n    return x * 1.25\n")
    info = (tmp_path / "lib" / "unitlib-1.0.dist-info").rename(tmp_path / "lib" / "unitlib-2.0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unitlib\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    (call,) = mf.reproduce(key_of(project / "store", "train.measured"), store=project / "store")
    assert call.outcome == "different"
    assert [(d.kind, d.name, d.old, d.new) for d in call.differences] == [("package", "unitlib", "1.0", "2.0")]
    assert call.why == "at most 0.375 (0.2 relative) apart; what it runs with differs: package unitlib"


def test_a_store_that_may_not_run_code_is_refused(project):
    store = mf.Store(project / "store", allow_pickle=False)
    with pytest.raises(mf.CapabilityError, match="executes code from the store"):
        mf.reproduce(key_of(project / "store", "train.inner"), store=store)


def test_what_takes_too_long_is_stopped(project):
    (call,) = mf.reproduce(key_of(project / "store", "train.inner"), store=project / "store", timeout=0.01)
    assert call.why == "it was stopped after 0.01 s, as timeout= says"


def test_a_call_of_which_nothing_is_recorded_is_not_found(project):
    with pytest.raises(mf.NotFoundError, match="00112233445566778899aabbccddeeff"):
        mf.reproduce("00112233445566778899aabbccddeeff", store=project / "store")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"code": "newest"}, "code is 'recorded' or 'present'"), ({"folder": "nowhere"}, "nowhere")],
)
def test_options_that_cannot_be_meant_are_refused(project, options, message):
    with pytest.raises(mf.InvalidInputError, match=message):
        mf.reproduce(key_of(project / "store", "train.inner"), store=project / "store", **options)


def test_a_reproduction_shows_itself(again):
    html = again._repr_html_()
    assert "different" in html
    assert "train.chance" in html
    assert "\n".join(map(str, again)) == str(again)
    assert repr(again).startswith("Reproduction(")
    assert again.to_table().column("step")[0] == "shop.steps.priced"


# -- in this process ---------------------------------------------------------------------------------

FACTOR = 2.0


@mf.step
def scaled(x):
    return [x * FACTOR]


@mf.step
def summed(rows):
    return sum(rows)


@mf.step
def written(path, text):
    Path(path).write_text(text)
    return mf.File(path)


@mf.step
def shouted(file):
    return Path(file).read_text().upper()


@pytest.fixture
def store(tmp_path):
    with mf.Store(tmp_path / "store") as store:
        yield store


def test_present_code_is_what_is_importable_now(store, monkeypatch):
    call = scaled.call(3)
    assert mf.reproduce(call, code="present").outcome == "same"
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.5)
    (found,) = mf.reproduce(call, code="present")
    assert (found.outcome, found.distance.absolute) == ("different", 1.5)
    assert [(d.kind, d.old, d.new) for d in found.differences] == [("value", "2.0", "2.5")]
    assert len(list(store.calls())) == 1


def test_a_model_version_is_the_calls_behind_it(store):
    model = scaled(4)
    version = mf.register_model("scaled", scaled(4))
    assert [call.step.rpartition(".")[2] for call in mf.reproduce(version, code="present")] == ["scaled"]
    assert mf.reproduce("models:/scaled/1", code="present").outcome == "same"
    assert mf.reproduce(summed.call(model), code="present").check()


def test_a_store_in_a_bucket_is_opened_by_the_process(moto_url):
    url, options = moto_url
    with mf.Store(f"{url}/reproduced", **options) as store:
        assert mf.reproduce(summed.call(scaled(6))).check()
    store.close()


@mf.pipeline
def piped(n):
    return summed(scaled(n))


def test_a_pipeline_is_the_calls_that_it_is_made_of(store):
    first, skipped = piped.run(3), piped.run(3)
    for run in (first, skipped):
        again = mf.reproduce(run, code="present")
        assert [(call.step.rpartition(".")[2], call.outcome) for call in again] == [
            ("scaled", "same"),
            ("summed", "same"),
            ("piped", "same"),
        ]


@mf.step
def rolled(n):
    import os

    return n + int.from_bytes(os.urandom(4), "little")


@mf.pipeline
def around(n):
    return {"inner": piped(n), "outer": summed(scaled(n + 1))}


@mf.pipeline
def by_chance(n):
    return piped(n), rolled(n)


@mf.pipeline
def of_nothing(n: int):
    return [n]


def outcomes(again):
    return [(call.step.rpartition(".")[2], call.outcome) for call in again]


def key_in(run, step):
    return next(call["key"] for call in run.calls if call["step"].endswith(f".{step}"))


def test_pipelines_come_out_as_the_calls_inside_them_do(store):
    run = around.run(2)
    expected = [
        ("scaled", "same"), ("summed", "same"), ("piped", "same"), ("scaled", "same"), ("summed", "same"),
        ("around", "same"),
    ]  # fmt: skip
    again = mf.reproduce(key_in(run, "around"))
    assert outcomes(again) == expected
    assert [(call.found, call.recorded) for call in again][-1] == (again.calls[-1].recorded,) * 2
    assert sorted(outcomes(mf.reproduce(run))) == sorted(expected)  # a nested one is not asked for twice


def test_a_pipeline_tells_which_of_its_calls_differ_or_cannot_be_run(store):
    run = by_chance.run(2)
    again = mf.reproduce(key_in(run, "by_chance"))
    assert again.outcome == "different"
    rolled_key = key_in(run, "rolled")[:12]
    assert again.calls[-1].why == f"1 of the 2 calls inside it is different: {rolled.name} {rolled_key}"
    (found,) = mf.reproduce(key_in(of_nothing.run(1), "of_nothing"))
    assert (found.outcome, "no calls of steps" in found.why) == ("not possible", True)


def test_a_pipeline_over_a_value_that_is_not_recorded_says_how_to_run_its_calls(store):
    data = np.arange(5000.0)
    run = over_data.run(data)
    again = mf.reproduce(key_in(run, "over_data"))
    assert outcomes(again) == [("taken", "not possible"), ("over_data", "not possible")]
    assert "mf.reproduce(key, name=value)" in again.calls[-1].why
    assert mf.reproduce(key_in(run, "over_data"), data=data).outcome == "same"


@mf.step
def taken(data):
    return float(data.sum())


@mf.pipeline
def over_data(data):
    return taken(data)


def test_a_store_in_memory_is_written_down_for_the_process():
    with mf.Store("memory://reproduced"):
        again = mf.reproduce(summed.call(scaled(5)))
        assert again.outcome == "same", str(again)


def test_a_step_without_recorded_code_says_so(store):
    call = mf.step(len, name="length").call([1, 2])
    (found,) = mf.reproduce(call)
    assert found.outcome == "same" if found.outcome == "same" else "code='present'" in found.why


def test_a_deterministic_step_stays_the_same_in_a_notebook_like_namespace(store, tmp_path):
    # Cells are compiled under names that no file has, and run in a namespace of their own.
    import linecache

    cell = "import math\nimport mlflowish as mf\nBASE = 2\n\n@mf.step\ndef power(n):\n    return math.pow(BASE, n)\n"
    linecache.cache["<ipython-input-1>"] = (len(cell), None, cell.splitlines(True), "<ipython-input-1>")
    space = {"__name__": "__main__"}
    exec(compile(cell, "<ipython-input-1>", "exec"), space)
    assert mf.reproduce(space["power"].call(5)).check()


@pytest.mark.parametrize(("step", "code"), [("train.inner", 0), ("train.chance", 1), ("train.of_frame", 2)])
def test_the_command_has_exit_codes_that_scripts_can_trust(project, capsys, step, code):
    from mlflowish.cli.main import run

    assert run(["reproduce", key_of(project / "store", step)[:12], "--store", str(project / "store"), "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert [call["step"] for call in document["calls"]] == [step]
    assert document["outcome"] == ["same", "different", "not possible"][code]


def test_the_command_takes_arguments_and_tells_what_there_is_not(project, capsys):
    from mlflowish.cli.main import run

    store = ["--store", str(project / "store")]
    assert run(["reproduce", key_of(project / "store", "train.of_frame"), "--argument", "df=[1]", *store]) == 2
    assert "df= is not what the call was given" in capsys.readouterr().err
    assert run(["reproduce", "nothing-like-it", *store]) == 2
    assert (
        run(["reproduce", key_of(project / "store", "train.logged_in"), "--argument", 'password="pass-phrase"', *store])
        == 0
    )
    assert "train.logged_in" in capsys.readouterr().out


def test_files_of_today_stay_what_they_are(store, tmp_path):
    call = shouted.call(written(str(tmp_path / "out.txt"), "then"))
    (tmp_path / "out.txt").write_text("mine")
    for code in ("recorded", "present"):
        assert mf.reproduce(call, code=code).check()
        assert (tmp_path / "out.txt").read_text() == "mine"


def test_calls_of_a_golden_store_can_be_run_again(tmp_path):
    shutil.copytree(Path(__file__).parent / "golden", tmp_path / "store")
    store = mf.Store(tmp_path / "store")
    keys = [call.key.hex() for call in sorted(store.calls(), key=lambda call: call.created_s)]
    again = mf.reproduce(mf.lineage.of(keys[-1], store=store), store=store)
    assert [(call.step, call.outcome) for call in again] == [
        ("golden_script.numbers", "same"),
        ("golden_script.total", "same"),
    ], str(again)
    assert mf.fsck(store).findings == ()
