"""What runs name is kept, and missed when it is gone."""

from __future__ import annotations

import mlflowish as mf


def test_artifacts_of_runs_are_kept_whatever_policy(tmp_path):
    with mf.Store(tmp_path / "s") as store:
        with mf.start_run() as run:
            mf.log_text("x" * 1000, "a.txt")
        report = mf.gc(store, dry_run=False, grace=0, max_size=0, older_than=0)
        assert report.objects.count == 0
        assert mf.get_run(run.run_id).artifacts.read("a.txt") == b"x" * 1000
        assert mf.fsck(store).findings == ()
        assert mf.du(store).unreached_count == 0
        store.close()


def test_an_artifact_that_is_gone_is_found_and_put_back_from_a_copy(tmp_path):
    with mf.Store(tmp_path / "s") as store:
        with mf.start_run():
            mf.log_text("x" * 1000, "a.txt")
        store.close()
        paths = {path.name: path for path in (tmp_path / "s").glob("objects/*/*") if path.stat().st_size == 1000}
        [(name, path)] = paths.items()
        (tmp_path / "s" / "quarantine").mkdir()
        path.rename(tmp_path / "s" / "quarantine" / f"{name}-ab")
        codes = {finding.code for finding in mf.fsck(store).findings}
        assert codes == {"reference-missing", "quarantine"}
        mf.fsck(store, repair=True)
        assert {finding.code for finding in mf.fsck(store).findings} == {"quarantine"}
        assert path.read_bytes() == b"x" * 1000
        store.close()
