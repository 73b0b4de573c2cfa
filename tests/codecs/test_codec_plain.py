"""Codec plain: builtin values come back exactly, and nothing that is read can execute code."""

import collections
import datetime
import decimal
import fractions
import math
import operator
import pathlib
import pickle
import subprocess
import sys
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflowish.codecs import decode, encode
from mlflowish.codecs.constructors import GLOBALS, Maker
from mlflowish.errors import IntegrityError, UncacheableError
from mlflowish.hashing import digest

UTC = datetime.UTC
any_text = st.text(st.characters(exclude_categories=()))
hashables = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    any_text,
    st.binary(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.sampled_from([zoneinfo.ZoneInfo("Europe/Paris")])),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.just(pathlib.PurePosixPath("a/b")),
    st.just(...),
    st.builds(range, st.integers(-5, 5), st.integers(-5, 5)),
)
plain_values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(hashables, inner, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.sets(hashables, max_size=4),
        st.builds(collections.OrderedDict, st.dictionaries(hashables, inner, max_size=3)),
        st.builds(collections.deque, st.lists(inner, max_size=3), st.just(5)),
        st.builds(bytearray, st.binary()),
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=plain_values)
def test_any_plain_value_comes_back_equal_in_digest(load, value):
    encoded = encode(value)
    assert encoded.codec == "plain"
    assert not encoded.executes_code
    assert digest(load(encoded, allow_pickle=False)) == digest(value)


EXACT = [
    10**5000,
    -(2**63),
    float("inf"),
    complex(-0.0, 2),
    "\ud800 half a pair",
    b"\0" * 300,
    bytearray(b"ab"),
    range(1, 10, 3),
    slice(1, None, 2),
    NotImplemented,
    datetime.datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    datetime.time(1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "two")),
    decimal.Decimal("sNaN12"),
    decimal.Decimal("-0E+3"),
    fractions.Fraction(-1, 3),
    uuid.UUID(int=5),
    pathlib.Path("a/b"),
    pathlib.PureWindowsPath("c:/x"),
    collections.Counter("hello"),
    collections.defaultdict(list, {"a": [1]}),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.deque([1, 2], maxlen=2),
    int,
    datetime.date,
    np.float64(0.1),
    np.int8(-3),
    np.bool_(True),
    np.str_("a\0"),
    np.bytes_(b"a\0"),
    np.datetime64("2020-01", "M"),
    np.timedelta64(3, "ms"),
    np.complex64(1j),
    np.dtype(">i4"),
    np.dtype("M8[ns]"),
    pd.Timestamp("2020-01-01 12:00", tz="Europe/Paris"),
    pd.Timestamp("2020-01-01").as_unit("s"),
    pd.Timedelta("1 day 3 ns"),
]


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
def test_the_exact_type_and_value_come_back(load, value):
    encoded = encode([value])
    assert encoded.codec == "plain"
    [back] = load(encoded)
    assert type(back) is type(value)
    assert digest(back) == digest(value)


@pytest.mark.parametrize("value", [math.nan, pd.NaT, pd.NA, -0.0, None, True, ...])
def test_singular_values_come_back_as_themselves(roundtrip, value):
    back = roundtrip(value)
    assert back is value or (math.copysign(1, back), str(back)) == (math.copysign(1, value), str(value))


def test_a_numpy_type_that_shares_its_name_with_another_is_not_mistaken_for_it(roundtrip):
    assert type(roundtrip(np.longlong(3))) is np.longlong


def test_a_defaultdict_keeps_its_factory(roundtrip):
    back = roundtrip(collections.defaultdict(int))
    back["new"] += 1
    assert back == {"new": 1}


def test_sharing_inside_a_value_is_kept(roundtrip):
    shared = [1]
    a, b = roundtrip([shared, shared])
    assert a is b


def test_a_value_that_contains_itself_comes_back_so(roundtrip):
    loop = []
    loop.append(loop)
    back = roundtrip(loop)
    assert back[0] is back


def test_each_load_gives_a_new_value(load):
    encoded = encode({"a": [1]})
    first = load(encoded)
    first["a"].append(2)
    assert load(encoded) == {"a": [1]}


def test_an_object_array_of_plain_values_is_plain_and_keeps_shape_and_order(load):
    array = np.array([["a", None], [[1], 2.5]], dtype=object, order="F")
    encoded = encode(array)
    assert encoded.codec == "plain"
    back = load(encoded)
    assert back.tolist() == array.tolist()
    assert back.flags.f_contiguous
    assert not back.flags.c_contiguous


def test_subclasses_of_builtins_are_not_taken_for_builtins(load):
    class Mine(int):
        pass

    encoded = encode(Mine(3))
    assert encoded.codec == "pickle"
    assert type(load(encoded)) is not int


def test_a_class_named_as_one_of_the_library_is_not_mistaken_for_it():
    fake = type("Fraction", (), {"__module__": "fractions", "numerator": 1, "denominator": 2})
    assert encode(fake()).codec == "pickle"


def test_nesting_without_reasonable_end_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UncacheableError, match="deep"):
        encode(deep)


def test_a_large_plain_value_is_one_part(load):
    value = list(range(100_000))
    encoded = encode(value)
    assert (encoded.codec, encoded.head, len(encoded.parts)) == ("plain", b"", 1)
    assert load(encoded) == value


# Hostile streams.

PROOF = "hostile-was-here"


def reducing(function, *arguments):
    """A pickle that calls a function when it is loaded by the standard unpickler."""

    class Call:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps(Call(), 5)


def stream(*pieces):
    return b"\x80\x05" + b"".join(pieces) + b"."


def named(module, name):
    """Opcodes that push what a name stands for."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


CONSTRUCTORS = "mlflowish.codecs.constructors"

HOSTILE = {
    "os.system": reducing(__import__("os").system, f"touch {PROOF}"),
    "builtins.eval": reducing(eval, f"open({PROOF!r}, 'w')"),
    "builtins.exec": reducing(exec, f"open({PROOF!r}, 'w')"),
    "builtins.getattr": reducing(getattr, "x", "upper"),
    "builtins.__import__": reducing(__import__, "antigravity"),
    "builtins.open": reducing(open, PROOF, "w"),
    "builtins.type": reducing(type, "X", (), {}),
    "builtins.object": stream(named("builtins", "object"), b")R"),
    "subprocess.Popen": reducing(subprocess.Popen, ["touch", PROOF]),
    "functools.partial": stream(named("functools", "partial"), named("builtins", "int"), b"\x85R"),
    "operator.attrgetter": stream(named("operator", "attrgetter"), b"\x8c\x01a\x85R"),
    "operator.methodcaller": reducing(operator.methodcaller, "upper"),
    "copyreg._reconstructor": stream(named("copyreg", "_reconstructor"), named("builtins", "int"), b"\x85R"),
    "dotted name": stream(b"\x8c\x08builtins\x8c\x0cint.__base__\x93"),
    "our own module": stream(named(CONSTRUCTORS, "GLOBALS")),
    "a function behind a maker": stream(named(CONSTRUCTORS, "_zone")),
    "a module's sys": stream(named(CONSTRUCTORS, "sys")),
    "numpy reconstruct": pickle.dumps(np.arange(3), 2),
    "pickle.loads": reducing(pickle.loads, b"N."),
    "INST": stream(b"(ios\nsystem\n"),
    "OBJ": stream(b"(", named("os", "system"), b"\x8c\x01ao"),
    "NEWOBJ of a maker": stream(named(CONSTRUCTORS, "zone"), b")\x81"),
    "BUILD into a maker": stream(named(CONSTRUCTORS, "zone"), b"}\x8c\x05_make", named("builtins", "int"), b"sb"),
    "BUILD slots into a maker": stream(
        named(CONSTRUCTORS, "zone"), b"N}\x8c\x05_make", named("builtins", "int"), b"s\x86b"
    ),
    "BUILD into a type": stream(
        named("collections", "deque"), b"N}\x8c\x06append", named("builtins", "int"), b"s\x86b"
    ),
    "persistent reference": stream(b"K\x01Q"),
    "extension code": stream(b"\x82\x01"),
    "out-of-band buffer": stream(b"\x97"),
    "dtype of objects": stream(named(CONSTRUCTORS, "numpy_scalar"), b"\x8c\x01OC\x08\0\0\0\0\0\0\0\0\x86R"),
    "path of another kind": stream(named(CONSTRUCTORS, "path"), b"\x8c\x02os\x8c\x01a\x86R"),
    "trailing bytes": b"N.N.",
    "empty stack": b".",
    "nothing": b"",
    "protocol 9": b"\x80\x09N.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stream_is_refused_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntegrityError):
        decode("plain", HOSTILE[name], [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(map(".".join, GLOBALS)))
def test_nothing_that_a_stream_can_name_can_be_changed(name):
    thing = {".".join(key): value for key, value in GLOBALS.items()}[name]
    with pytest.raises((AttributeError, TypeError)):
        thing.planted = 1
    with pytest.raises((AttributeError, TypeError)):
        thing.__call__ = int


def test_streams_name_only_types_in_c_and_makers():
    kinds = {type(value) for value in GLOBALS.values()}
    assert kinds <= {type, Maker, type(...), type(NotImplemented)}


def test_a_plain_stream_is_an_ordinary_pickle_for_who_trusts_it():
    value = {"a": [1, fractions.Fraction(1, 3), np.float64(2)], "when": datetime.date(2020, 1, 1)}
    assert pickle.loads(encode(value).head) == value


def test_reading_plain_values_imports_no_library():
    code = (
        "import sys; from mlflowish.codecs import encode, decode, describe\n"
        "e = encode({'a': [1, 'b', None]}); decode(e.codec, e.head, []); describe([1])\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'cloudpickle', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
