"""Codec pickle, the last resort: large arrays stay outside, policy can refuse it, what cannot be pickled is named."""

import dataclasses
import io
import subprocess
import sys
import textwrap
import threading
import types

import numpy as np
import pandas as pd
import pytest

from mlflowish.codecs import decode, encode
from mlflowish.codecs.signatures import class_signature
from mlflowish.errors import CapabilityError, IntegrityError, UncacheableError
from mlflowish.hashing import digest


@dataclasses.dataclass
class Model:
    weights: np.ndarray
    names: list
    frame: object = None


class Slotted:
    __slots__ = ("conn", "name")

    def __init__(self, conn):
        self.conn, self.name = conn, "n"


def test_an_object_comes_back_with_its_arrays_as_parts_of_the_array_codec(load, store_part):
    model = Model(np.arange(50_000.0), ["a"], pd.DataFrame({"x": [1, 2]}))
    encoded = encode(model)
    assert (encoded.codec, encoded.executes_code) == ("pickle", True)
    [part] = encoded.parts
    assert bytes(store_part(part).buffer()) == bytes(store_part(encode(model.weights).parts[0]).buffer())
    back = load(encoded)
    assert type(back) is Model
    assert digest(back) == digest(model)
    back.weights[0] = 9


def test_the_arrays_of_a_fitted_model_are_mapped_and_not_copied(load):
    sklearn = pytest.importorskip("sklearn.linear_model", reason="the demo extra is not installed")
    rng = np.random.default_rng(0)
    model = sklearn.Ridge().fit(rng.random((50, 20_000)), rng.random(50))
    encoded = encode(model)
    assert max(part.size_bytes for part in encoded.parts) >= 160_000
    back = load(encoded)
    assert not back.coef_.flags.owndata
    assert np.array_equal(back.coef_, model.coef_)


def test_buffers_of_other_objects_lie_out_of_band(load):
    masked = np.ma.masked_array(np.arange(50_000.0), np.arange(50_000) % 2 == 0)
    encoded = encode(masked)
    back = load(encoded)
    assert type(back) is np.ma.MaskedArray
    assert (back == masked).all()
    back[1] = 5
    assert load(encoded)[1] == 1


def test_policy_can_refuse_to_load_it():
    encoded = encode(Model(None, []))
    with pytest.raises(CapabilityError, match="allow_pickle"):
        decode(encoded.codec, encoded.head, [], allow_pickle=False)


def test_a_pickle_inside_a_container_is_refused_too():
    # A forged tree, since an honest one with an object in it is a pickle as a whole.
    inner = encode(Model(None, []))
    from mlflowish.codecs.streams import dump_tree

    reference = (0, "pickle", inner.head, 0, 0)
    marker = []
    head = dump_tree([marker], lambda member: reference if member is marker else None).joined()
    assert isinstance(decode("tree", head, [])[0], Model)
    with pytest.raises(CapabilityError):
        decode("tree", head, [], allow_pickle=False)


def test_a_lambda_and_a_local_class_are_stored_by_value(roundtrip):
    class Local:
        def double(self):
            return 2 * self.x

    value = Local()
    value.x = 4
    back = roundtrip([value, lambda y: y + 1])
    assert (back[0].double(), back[1](2)) == (8, 3)


CULPRITS = {
    "result": threading.Lock(),
    "result[3].conn": [1, 2, "x", Slotted(threading.Lock())],
    "result['db'][0]": {"fine": 1, "db": (threading.Lock(), 2)},
    "result.frame.conn": Model(None, [], Slotted(threading.Lock())),
    "result[1]": ["x" * 100, (n for n in [1])],
}


@pytest.mark.parametrize("path", CULPRITS)
def test_what_cannot_be_stored_is_named_by_its_path(path):
    with pytest.raises(UncacheableError) as caught:
        encode(CULPRITS[path])
    assert caught.value.path == path
    assert path in str(caught.value)


def test_a_cycle_around_what_cannot_be_stored_is_walked_once():
    loop = {"lock": threading.Lock()}
    loop = {"self": loop, **loop}
    loop["self"]["self"] = loop
    with pytest.raises(UncacheableError) as caught:
        encode(loop)
    assert caught.value.path.endswith("['lock']")


@pytest.mark.parametrize("kind", ["open file", "memoryview"])
def test_what_would_come_back_as_something_else_is_refused(kind, tmp_path):
    with (tmp_path / "f").open("w+") as file, pytest.raises(UncacheableError, match=r"result\[0\]"):
        encode([file if kind == "open file" else memoryview(b"abc")])


def test_a_stream_in_memory_is_stored_with_its_position(roundtrip):
    stream = io.BytesIO(b"abc")
    stream.read(1)
    assert roundtrip([stream])[0].read() == b"bc"


def test_a_class_that_is_gone_is_told_from_damage(monkeypatch, load):
    module = types.ModuleType("fleeting")
    exec("class Thing:\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "fleeting", module)
    encoded = encode(module.Thing())
    assert type(load(encoded)) is module.Thing
    del module.Thing
    with pytest.raises(CapabilityError, match=r"fleeting\.Thing"):
        load(encoded)
    monkeypatch.delitem(sys.modules, "fleeting")
    with pytest.raises(CapabilityError, match="fleeting"):
        load(encoded)


def test_an_object_whose_class_no_longer_takes_its_state_is_a_clear_error(monkeypatch, load):
    encoded = encode(Slotted(1))

    def refuse(self, state):
        raise KeyError("other layout")

    monkeypatch.setattr(Slotted, "__setstate__", refuse, raising=False)
    with pytest.raises(CapabilityError, match="other layout"):
        load(encoded)


def test_code_of_another_version_of_python_is_not_run(load, monkeypatch):
    encoded = encode(lambda: 1)
    monkeypatch.setattr("mlflowish.codecs.pickled._PYTHON", "3.99")
    with pytest.raises(CapabilityError, match=r"3\.99"):
        load(encoded)


def test_a_cut_pickle_is_damage(bytes_part):
    encoded = encode(Model(None, ["x" * 50] * 5000), inline_limit=0)
    [part] = encoded.parts
    data = b"".join(part.chunks())
    with pytest.raises(IntegrityError):
        decode("pickle", encoded.head, [bytes_part(data[:-3])])
    with pytest.raises(IntegrityError):
        decode("pickle", encoded.head, [bytes_part(data + b"N.")])
    with pytest.raises(IntegrityError):
        decode("pickle", encoded.head, [])


SCRIPT = """
import sys, pathlib, pickle
from mlflowish.codecs import encode, decode

class Point:
    scale = {scale}
    def __init__(self, x): self.x = x
    def scaled(self): return self.x * self.scale

class Part:
    def __init__(self, data): self.data = data
    def buffer(self): return memoryview(bytearray(self.data))

stored = pathlib.Path(sys.argv[1])
if not stored.exists():
    encoded = encode(Point(3))
    stored.write_bytes(pickle.dumps((encoded.codec, encoded.head)))
else:
    codec, head = pickle.loads(stored.read_bytes())
    if {forget}: del Point
    point = decode(codec, head, [])
    print(point.scaled(), "Point" in globals() and isinstance(point, Point))
"""


def run_script(tmp_path, *, scale, forget=False):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(scale=scale, forget=forget)))
    done = subprocess.run([sys.executable, script, tmp_path / "stored"], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_an_object_of_a_class_of_the_script_is_one_of_its_class_in_the_next_run(tmp_path):
    run_script(tmp_path, scale=10)
    assert run_script(tmp_path, scale=10) == ["30", "True"]


def test_where_the_script_has_another_class_the_stored_one_is_used(tmp_path):
    run_script(tmp_path, scale=10)
    assert run_script(tmp_path, scale=99) == ["30", "False"]
    assert run_script(tmp_path, scale=10, forget=True) == ["30", "False"]


def make(source):
    namespace = {"__name__": "made"}
    exec(textwrap.dedent(source), namespace)
    return namespace["A"]


def test_the_signature_of_a_class_is_of_its_body():
    body = "class A:\n    x = 1\n    def f(self, y=2): return self.x + y\n    @property\n    def p(self): return 3\n"
    assert class_signature(make(body)) == class_signature(make("# moved\n\n" + body))
    for edited in ("x = 2", "y=3", "self.x - y", "return 4"):
        old = {"x = 2": "x = 1", "y=3": "y=2", "self.x - y": "self.x + y", "return 4": "return 3"}[edited]
        assert class_signature(make(body.replace(old, edited))) != class_signature(make(body))


def test_a_class_of_the_script_does_not_drag_the_scripts_data_along(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from mlflowish.codecs import encode\n"
        "data = bytes(50_000_000)\n"
        "class User:\n    def size(self): return len(data)\n"
        "encoded = encode(User())\n"
        "print(len(encoded.head), sum(part.size_bytes for part in encoded.parts))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert sum(map(int, done.stdout.split())) < 10_000
