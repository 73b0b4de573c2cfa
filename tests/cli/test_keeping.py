"""The commands that keep a store in order, as they are typed."""

from pathlib import Path

from command_runs import Runner


def test_du_says_what_fills_a_store(used: Runner) -> None:
    found = used("du", "--json").document
    assert [(owner["kind"], owner["name"], owner["count"]) for owner in found["owners"]] == [("step", "script.work", 3)]
    assert found["bytes"] == sum(kind["bytes"] for kind in found["files"].values())
    page = used("du")
    assert page.code == 0
    assert "script.work" in page.out
    assert "reached by nothing" in page.out


def test_fsck_of_a_sound_store_ends_with_0(used: Runner) -> None:
    done = used("fsck")
    assert (done.code, done.err) == (0, "")
    assert "nothing wrong" in done.out


def test_fsck_of_a_damaged_store_ends_with_3_until_it_is_repaired(used: Runner, tmp_path: Path) -> None:
    (tmp_path / "store" / "FORMAT").unlink()
    done = used("fsck", "--json")
    assert done.code == 3
    assert [finding["code"] for finding in done.document["findings"]] == ["format-missing"]
    assert used("fsck").code == 3
    assert used("fsck", "--repair").code == 0
    assert used("fsck").code == 0


def test_fsck_of_a_newer_store_ends_with_1_and_says_to_upgrade(used: Runner, tmp_path: Path) -> None:
    (tmp_path / "store" / "FORMAT").write_text('{"id": "00", "name": "mlflowish", "version": 99}\n')
    done = used("fsck", "--repair")
    assert (done.code, done.out) == (1, "")
    assert "Upgrade" in done.err


def test_gc_says_what_would_go_until_it_is_told_to_delete(used: Runner) -> None:
    would = used("gc", "--older-than", "0s", "--grace", "0s", "--json").document
    assert (would["dry_run"], would["evicted"]["count"]) == (True, 3)
    page = used("gc", "--max-size", "0", "--grace", "0s")
    assert page.code == 0
    assert "--delete does it" in page.out
    assert used("status", "--json").document["results"] == 3
    did = used("gc", "--max-size", "0", "--keep-last", "1", "--grace", "0s", "--delete", "--json").document
    assert (did["dry_run"], did["evicted"]["count"]) == (False, 2)
    assert used("status", "--json").document["results"] == 1
    assert used("fsck").code == 0


def test_gc_refuses_what_cannot_be_meant(used: Runner) -> None:
    done = used("gc", "--older-than", "soon")
    assert (done.code, done.out) == (1, "")
    assert "'30d'" in done.err
    assert used("gc", "--keep-last", "-1").code == 2
