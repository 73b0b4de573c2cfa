"""The public entry: hooks for code, digesters of users, instances of edited classes, threads and forks."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflowish import hashing
from mlflowish.errors import InvalidInputError, UncacheableError
from mlflowish.hashing import digest, digest_call, hexdigest, kinds, register_digester


class Thing:
    def __init__(self, x: Any = 1) -> None:
        self.x = x

    def method(self) -> Any:
        return self.x


class Recorder:
    """A hook that writes down what it is asked."""

    def __init__(self, answer: bytes = b"code") -> None:
        self.asked: list[tuple[object, str]] = []
        self.answer = answer

    def __call__(self, obj: object, path: str) -> bytes:
        self.asked.append((obj, path))
        return self.answer


def test_a_digest_is_16_bytes_and_its_hex_32_characters() -> None:
    assert len(digest([1])) == 16
    assert hexdigest([1]) == digest([1]).hex()
    assert {type(digest(value)) for value in (1, [1], [Thing], b"x" * (2 << 20))} == {bytes}


def test_the_digests_of_a_call_are_those_of_its_arguments() -> None:
    values = (1, "a", [Thing(2)], np.arange(3))
    assert digest_call(tuple("abcd"), values) == [digest(value) for value in values]


@pytest.mark.parametrize("code", [Thing, len, np.sum, Thing.method, types, functools.lru_cache(len), str.upper, dict])
def test_code_inside_a_value_is_asked_of_the_hook(code: Any) -> None:
    hook = Recorder()
    digest({"k": [code]}, code=hook)
    assert hook.asked == [(code, 'value["k"][0]')]


def test_the_hook_decides_the_identity_of_a_class() -> None:
    assert digest(Thing(), code=Recorder(b"1")) != digest(Thing(), code=Recorder(b"2"))
    assert digest(Thing(), code=Recorder(b"1")) == digest(Thing(), code=Recorder(b"1"))


def test_the_hook_is_asked_once_for_many_instances() -> None:
    hook = Recorder()
    digest([Thing(i) for i in range(100)], code=hook)
    assert [obj for obj, _ in hook.asked] == [Thing]


def test_a_bound_method_is_its_function_and_its_object() -> None:
    hook = Recorder()
    digest(Thing(object).method, code=hook)
    assert [obj for obj, _ in hook.asked] == [Thing.method, Thing, object]


def test_the_hook_may_digest_values_itself() -> None:
    def hook(obj: object, path: str) -> bytes:
        return digest([1, 2], path=path)

    assert digest(Thing(), code=hook) == digest(Thing(), code=hook)


def test_instances_of_the_standard_library_need_no_hook() -> None:
    hook = Recorder()
    digest([ValueError("a"), types.SimpleNamespace(a=1), threading.BrokenBarrierError()], code=hook)
    assert hook.asked == []


def test_a_class_that_only_claims_to_be_standard_is_asked_of_the_hook() -> None:
    pretender = type("Fraction", (), {"__module__": "fractions"})
    hook = Recorder()
    digest(pretender(), code=hook)
    assert [obj for obj, _ in hook.asked] == [pretender]


class Comparing(type):
    """Its classes compare by name, so that they cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]  # what Python does to a class with `__eq__`

    def __eq__(cls, other: object) -> bool:
        return getattr(other, "__name__", "") == cls.__name__


class Unhashable(metaclass=Comparing):
    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: {"k": it}, lambda it: ({"k": [it]},)])
def test_a_class_that_cannot_be_hashed_is_no_obstacle(wrap: Any) -> None:
    digests = [digest(wrap(Unhashable(x)), code=Recorder()) for x in (1, 2, [object], 1)]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


# Digesters of users.


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_registered", dict(kinds._registered))


class Special:
    def __init__(self, identity: Any, noise: Any) -> None:
        self.identity = identity
        self.noise = noise


class MoreSpecial(Special):
    pass


def identity_of(value: Special) -> Any:
    return value.identity


def test_a_registered_digester_says_what_counts(registry: None) -> None:
    before = digest(Special(1, 2))
    register_digester(Special, identity_of)
    assert digest(Special(1, 2)) == digest(Special(1, threading.Lock())) != before
    assert digest(Special(1, 2)) != digest(Special(2, 2))
    assert digest(Special([1, {2}], 2)) == digest(Special([1, {2}], 3))


def test_a_registered_digester_does_not_hide_the_class(registry: None) -> None:
    register_digester(Special, identity_of)
    register_digester(MoreSpecial, identity_of)
    assert len({digest(Special(1, 2)), digest(MoreSpecial(1, 2)), digest(1)}) == 3


def test_a_registered_digester_leaves_subclasses_alone(registry: None) -> None:
    register_digester(Special, identity_of)
    assert digest(MoreSpecial(1, 2)) != digest(MoreSpecial(1, 3))


def test_a_digester_for_a_library_type_wins(registry: None) -> None:
    register_digester(np.ndarray, lambda array: "an array")
    assert digest(np.zeros(2)) == digest(np.zeros(3))


@pytest.mark.parametrize("cls", [int, str, list, dict, tuple, set, type, object, type(None)])
def test_builtin_types_cannot_be_registered(cls: type) -> None:
    with pytest.raises(InvalidInputError):
        register_digester(cls, str)


def test_only_classes_can_be_registered() -> None:
    with pytest.raises(InvalidInputError):
        register_digester("Special", str)  # type: ignore[arg-type]  # the mistake that is tested


def test_a_digester_that_fails_is_named(registry: None) -> None:
    def fails(value: Any) -> Any:
        raise KeyError("nothing")

    register_digester(Special, fails)
    with pytest.raises(UncacheableError, match="KeyError") as caught:
        digest([Special(1, 2)])
    assert caught.value.path == "value[0]"


# Instances of classes that change.

CLASS = """
from dataclasses import dataclass

LIMIT = {limit}

def helper(x):
    return x + {helper}

@dataclass
class Config:
    rate: float = 0.1
    {comment}
    def scaled(self):
        return helper(self.rate) * {factor} + LIMIT

class Point:
    def __init__(self, x):
        self.x = x
        {unused}
"""


def digest_of_instance(folder: Path, expression: str, **parts: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '1'\n")
    settings = {"limit": 1, "helper": 1, "factor": 2, "comment": "", "unused": "", **parts}
    (folder / "things.py").write_text(textwrap.dedent(CLASS).format(**settings))
    program = f"import things; from mlflowish.hashing import hexdigest; print(hexdigest({expression}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_edited_class_is_another_value(tmp_path: Path) -> None:
    base = digest_of_instance(tmp_path, "things.Config()")
    assert digest_of_instance(tmp_path, "things.Config()") == base
    assert digest_of_instance(tmp_path, "things.Config()", comment="# a note") == base
    assert digest_of_instance(tmp_path, "things.Config(0.2)") != base
    assert digest_of_instance(tmp_path, "things.Config()", factor=3) != base
    assert digest_of_instance(tmp_path, "things.Config()", helper=2) != base
    assert digest_of_instance(tmp_path, "things.Config()", limit=2) != base
    assert digest_of_instance(tmp_path, "things.Point(1)") == digest_of_instance(tmp_path, "things.Point(1)", limit=2)


# Processes and threads.


def test_threads_agree() -> None:
    value = [{"a": np.arange(1000.0), "b": {str(i) for i in range(100)}, "c": Thing([1, 2])}] * 5
    expected = digest(value)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(digest, [value] * 64)) == {expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_digests_large_arrays() -> None:
    # In a process of its own, which has used its hashing threads before the fork.
    program = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from mlflowish.hashing import digest
        array = np.arange(4_000_000.0)
        expected = digest(array)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if digest(array) == expected else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=120, check=False)
    assert done.returncode == 0


def test_digesting_does_not_change_the_value() -> None:
    array = np.array([[1.0, -np.nan], [3.0, 4.0]]).T
    before = array.tobytes()
    partial = functools.partial(len)
    masked = np.ma.array([1.0, 7.0], mask=[False, True])
    digest([array, partial, masked])
    assert array.tobytes() == before
    assert partial.__reduce__()[2][3] is None or partial.__reduce__()[2][3] == {}
    assert masked.data[1] == 7.0


def test_importing_the_room_imports_no_library() -> None:
    program = (
        "import sys; from mlflowish.hashing import digest; digest({'a': [1, 2.0, {'x'}]});"
        "heavy = {'numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'networkx', 'scipy', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_function_keeps_its_name_beside_the_module() -> None:
    from mlflowish.hashing.fingerprint import fingerprint

    assert hashing.fingerprint is fingerprint


def test_an_exception_keeps_its_digest_where_tracebacks_are_sent() -> None:
    code = "import sys, mlflowish as mf; print(mf.digest([ValueError('a'), OSError(2, 'b')]))"
    sending = f"import tblib.pickling_support as sent; sent.install(); {code}"
    found = {
        subprocess.run([sys.executable, "-c", each], stdout=subprocess.PIPE, check=True).stdout
        for each in (code, sending)
    }
    assert len(found) == 1
