"""What a fingerprint tells: parts, notes, reasons, versions of packages, and what `depends=` adds."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from mlflowish.errors import InvalidInputError
from mlflowish.hashing import packages
from mlflowish.hashing.fingerprint import Fingerprint, diff, fingerprint


def build(text: str, **names: Any) -> Any:
    """The `f` of a module made from text, with more names in it."""
    module = types.ModuleType("made")
    module.__dict__.update(names)
    exec(compile(text, "<made>", "exec"), module.__dict__)
    return module.f


def part(found: Fingerprint, label: str) -> Any:
    return next(part for part in found.parts if part.label == label)


def test_parts_name_what_a_function_depends_on() -> None:
    f = build("K = 3\ndef h(x): return x + K\nclass A:\n    n = 1\ndef f(x): return h(x) + A.n\n")
    labels = {(part.kind, part.label) for part in fingerprint(f).parts}
    assert {
        ("function", "made.f"),
        ("function", "made.h"),
        ("value", "made.K"),
        ("class", "made.A"),
        ("value", "made.A.n"),
    } <= labels


def test_parts_describe_code_by_its_source_and_values_in_short() -> None:
    from tests_code_subject import subject  # type: ignore[import-not-found]  # written by the fixture below

    found = fingerprint(subject)
    assert "return x + LIMIT" in part(found, "tests_code_subject.subject").describe()
    assert part(found, "tests_code_subject.LIMIT").describe() == "7"


@pytest.fixture(autouse=True)
def _subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "tests_code_subject.py").write_text("LIMIT = 7\n\ndef subject(x):\n    return x + LIMIT\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("tests_code_subject", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "hush-hush"),
        ("token", "hush-hush"),
        ("DB_PASSWORD", "hush-hush"),
        ("CONFIG", {"url": "x", "client_secret": "hush-hush"}),
        ("CONFIG", {"inner": {"credentials": "hush-hush"}}),
        ("URL", "postgres://user:hush-hush@host/db"),
        ("CFG", types.SimpleNamespace(password="hush-hush", port=1)),
    ],
)
def test_secrets_are_never_shown(name: str, value: Any) -> None:
    f = build(f"def f(x): return {name}\n", **{name: value})
    found = fingerprint(f)
    shown = "".join(part.describe() for part in found.parts)
    assert "hush" not in shown
    assert any(part.label == f"made.{name}" for part in found.parts)


def test_secrets_written_into_code_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "tests_code_subject.py").write_text("def subject(x):\n    api_key = 'hush-hush'\n    return api_key\n")
    from tests_code_subject import subject

    assert "hush" not in "".join(part.describe() for part in fingerprint(subject).parts)


def test_descriptions_are_short() -> None:
    f = build("def f(x): return BIG\n", BIG=list(range(100_000)))
    assert len(part(fingerprint(f), "made.BIG").describe()) <= 500


@pytest.mark.parametrize("harmless", [logging.getLogger("x"), threading.Lock(), sys.stderr])
def test_what_carries_no_meaning_is_noted_and_does_not_prevent_caching(harmless: Any) -> None:
    found = fingerprint(build("def f(x): return THING\n", THING=harmless))
    assert found.uncacheable is None
    assert any("made.THING" in note for note in found.notes)
    assert part(found, "made.THING").kind == "opaque"


def test_what_cannot_be_digested_makes_the_function_uncacheable_with_the_culprit() -> None:
    found = fingerprint(build("def f(x): return next(GEN)\n", GEN=(i for i in range(3))))
    assert found.uncacheable is not None
    assert "made.GEN" in found.uncacheable


@pytest.mark.parametrize("text", ["globals()['K']", "eval('K' + '')", "__import__(NAME)"])
def test_dynamic_code_is_noted(text: str) -> None:
    found = fingerprint(build(f"K = 1\nNAME = 'json'\ndef f(x): return {text}\n"))
    assert any("made.f" in note for note in found.notes)


def test_an_ordinary_function_has_no_notes() -> None:
    found = fingerprint(build("import json\nK = [1]\ndef f(x): return json.dumps(K) + str(x)\n"))
    assert found.notes == ()
    assert found.uncacheable is None


def test_large_globals_are_noted() -> None:
    np = pytest.importorskip("numpy", reason="numpy is an extra")
    found = fingerprint(build("def f(x): return W\n", W=np.zeros(9_000_000)))
    assert any("69 MB" in note for note in found.notes)


def test_depends_adds_functions_values_classes_and_modules() -> None:
    def h(x: int) -> int:
        return x

    f = build("def f(x): return x\n")
    digests = {
        fingerprint(f).digest,
        fingerprint(f, depends=[h]).digest,
        fingerprint(f, depends=["tests_code_subject"]).digest,
        fingerprint(f, depends=[{"version": 2}]).digest,
        fingerprint(f, depends=[logging.Logger]).digest,
        fingerprint(f, depends=[h, 1]).digest,
    }
    assert len(digests) == 6


def test_a_module_in_depends_is_followed_without_importing_it(tmp_path: Path) -> None:
    f = build("def f(x): return x\n")
    before = fingerprint(f, depends=["tests_code_subject"])
    assert "tests_code_subject" not in sys.modules
    (tmp_path / "tests_code_subject.py").write_text("LIMIT = 8_000\n\ndef subject(x):\n    return x + LIMIT\n")
    assert not before.holds()
    assert fingerprint(f, depends=["tests_code_subject"]).digest != before.digest


def test_a_module_in_depends_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no_such_module_at_all"):
        fingerprint(len, depends=["no_such_module_at_all"])


@pytest.mark.parametrize("wrong", [3, "text", None, [len]])
def test_what_cannot_be_called_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="can be called"):
        fingerprint(wrong)


@pytest.mark.parametrize("policy", ["latest", {"numpy": "patch"}])
def test_an_unknown_policy_for_packages_is_refused(policy: Any) -> None:
    with pytest.raises(InvalidInputError, match="packages="):
        fingerprint(len, packages=policy)


def test_packages_reached_are_parts_and_can_be_ignored() -> None:
    import blake3

    f = build("import blake3\ndef f(x): return blake3.blake3(x)\n")
    assert part(fingerprint(f), "blake3").describe() == blake3.__version__
    ignored = fingerprint(f, packages="ignore")
    assert not any(part.kind == "package" for part in ignored.parts)
    assert ignored.digest != fingerprint(f).digest


@pytest.mark.parametrize(
    ("policy", "counts"),
    [
        ("reached", "2.4.1"),
        ("ignore", None),
        ({"numpy": "minor"}, "2.4"),
        ({"numpy": "major"}, "2"),
        ({"x": "major"}, "2.4.1"),
        ({"*": "minor"}, "2.4"),
        ({"NumPy": "ignore"}, None),
    ],
)
def test_a_policy_says_which_part_of_a_version_counts(policy: Any, counts: str | None) -> None:
    assert packages.apply_policy("numpy", "2.4.1", policy) == counts


def test_steps_own_package_and_the_standard_library_bring_no_version() -> None:
    f = build("import json, mlflowish.errors\ndef f(x): return json.dumps(x), mlflowish.errors.nearest('a', x)\n")
    assert not any(part.kind == "package" for part in fingerprint(f).parts)


def test_a_moved_and_renamed_function_keeps_its_fingerprint() -> None:
    one = build("def h(x): return x\ndef f(x): return h(x)\n")
    module = types.ModuleType("elsewhere")
    exec(compile("\n\ndef helper(x): return x\ndef g(x): return helper(x)\n", "<x>", "exec"), module.__dict__)
    # Bytecode names its globals, so a rename counts there; with source it does not (see the torture suite).
    assert fingerprint(one).digest != fingerprint(module.g).digest
    assert fingerprint(one).digest == fingerprint(build("def h(x): return x\ndef f(x): return h(x)\n")).digest


@pytest.mark.parametrize(
    "entry",
    [
        functools.partial(max, 1),
        len,
        str.join,
        "a".join,
        dict,
        functools.lru_cache(lambda x: x),
        type("C", (), {"__call__": lambda self, x: x})(),
        type("C", (), {"m": lambda self: 1})().m,
    ],
)
def test_everything_that_can_be_called_has_a_fingerprint(entry: Any) -> None:
    found = fingerprint(entry)
    assert len(found.digest) == 16
    assert found.holds()
    assert found.uncacheable is None


def test_a_bound_method_carries_the_state_of_its_object() -> None:
    class Model:
        def __init__(self, k: int) -> None:
            self.k = k

        def predict(self, x: int) -> int:
            return x + self.k

    assert fingerprint(Model(1).predict).digest == fingerprint(Model(1).predict).digest
    assert fingerprint(Model(1).predict).digest != fingerprint(Model(2).predict).digest


def test_a_long_chain_of_helpers_and_a_circle_are_walked() -> None:
    lines = [f"def h{i}(x): return h{i + 1}(x)" for i in range(3000)]
    f = build("\n".join([*lines, "def h3000(x): return h0(x)", "def f(x): return h0(x)\n"]))
    assert len(fingerprint(f).parts) == 3002


def test_differences_name_what_changed_was_added_removed_or_renamed() -> None:
    old = fingerprint(build("K = 1\ndef h(x): return x\ndef g(x): return x + 7\ndef f(x): return h(x) + K + g(x)\n"))
    new = fingerprint(
        build("K = 2\ndef h(x): return x\ndef g2(x): return x + 7\nJ = 5\ndef f(x): return h(x) + K + g2(x) + J\n")
    )
    changes = {(c.label, c.change) for c in diff([p.recorded() for p in old.parts], [p.recorded() for p in new.parts])}
    assert changes == {
        ("made.K", "changed"),
        ("made.f", "changed"),
        ("made.J", "added"),
        ("made.g2", "renamed"),
    }


def test_two_fingerprints_of_equal_code_list_equal_parts() -> None:
    text = "K = {1, 2, 3}\ndef f(x): return sorted(K)\n"
    one, two = fingerprint(build(text)), fingerprint(build(text))
    assert one.parts == two.parts
    assert one.digest == two.digest
