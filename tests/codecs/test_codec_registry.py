"""The registry is open: rooms above and users bring codecs of their own, by exact type, by name, or by predicate."""

import numpy as np
import pytest

from mlflowish.codecs import Encoded, decode, encode, known, register, registry
from mlflowish.errors import AlreadyExistsError, CapabilityError, InvalidInputError


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


class CelsiusCodec:
    name = "test-celsius"
    executes_code = False

    def encode(self, value, *, inline_limit):
        return Encoded(self.name, str(value.degrees).encode())

    def decode(self, head, parts, *, allow_pickle):
        return Celsius(float(head))


class EvenCodec(CelsiusCodec):
    name = "test-even"


@pytest.fixture(autouse=True)
def clean_registry():
    saved = dict(registry._codecs), dict(registry._rules), dict(registry._rules_by_name), list(registry._predicates)
    yield
    for live, before in zip((registry._codecs, registry._rules, registry._rules_by_name), saved, strict=False):
        live.clear()
        live.update(before)
    registry._predicates[:] = saved[3]


def test_a_registered_type_is_stored_by_its_codec_also_inside_containers(load):
    register(CelsiusCodec(), Celsius)
    assert encode(Celsius(3)).codec == "test-celsius"
    encoded = encode({"t": [Celsius(3.5), np.zeros(20_000)]})
    assert encoded.codec == "tree"
    assert load(encoded, allow_pickle=False)["t"][0].degrees == 3.5
    assert "test-celsius" in known()


def test_a_type_can_be_named_before_it_is_imported():
    register(CelsiusCodec(), f"{__name__}.Celsius")
    assert encode(Celsius(1)).codec == "test-celsius"


def test_only_the_exact_type_is_matched():
    register(CelsiusCodec(), Celsius)
    assert encode(type("Sub", (Celsius,), {})(1)).codec == "pickle"


def test_a_predicate_decides_where_no_type_is_registered():
    register(EvenCodec(), when=lambda value: isinstance(value, Celsius) and value.degrees % 2 == 0)
    assert encode(Celsius(4)).codec == "test-even"
    assert encode(Celsius(3)).codec == "pickle"


def test_an_exact_type_comes_before_a_predicate():
    register(EvenCodec(), when=lambda value: isinstance(value, Celsius))
    register(CelsiusCodec(), Celsius)
    assert encode(Celsius(4)).codec == "test-celsius"


def test_a_type_with_a_condition_is_left_to_others_where_it_does_not_hold():
    register(EvenCodec(), Celsius, when=lambda value: value.degrees % 2 == 0)
    assert (encode(Celsius(4)).codec, encode(Celsius(3)).codec) == ("test-even", "pickle")


def test_a_notebook_cell_can_register_its_class_again():
    register(CelsiusCodec(), Celsius)
    again = type("CelsiusCodec", (CelsiusCodec,), {"__qualname__": "CelsiusCodec"})
    register(again(), Celsius)
    assert type(registry.codec_named("test-celsius")) is again


def test_a_name_that_is_taken_is_refused():
    register(CelsiusCodec(), Celsius)
    other = type("Other", (CelsiusCodec,), {})
    with pytest.raises(AlreadyExistsError, match="test-celsius"):
        register(other(), Celsius)
    pretender = type("Pretender", (CelsiusCodec,), {"name": "numpy"})
    with pytest.raises(AlreadyExistsError):
        register(pretender(), Celsius)


def test_builtin_types_and_nothing_at_all_are_refused():
    with pytest.raises(InvalidInputError, match="dict"):
        register(CelsiusCodec(), dict)
    with pytest.raises(InvalidInputError, match="when="):
        register(CelsiusCodec())


def test_a_codec_that_this_process_does_not_know_is_a_clear_error():
    with pytest.raises(CapabilityError, match="nobody-knows"):
        decode("nobody-knows", b"", [])


def test_a_format_can_be_asked_for(load):
    encoded = encode([1, 2], format="pickle")
    assert encoded.codec == "pickle"
    assert load(encoded) == [1, 2]


def test_a_format_that_does_not_exist_is_refused_with_the_ones_that_do():
    with pytest.raises(InvalidInputError, match=r"nunpy.*numpy"):
        encode(1, format="nunpy")


@pytest.mark.parametrize(
    "name", ["numpy", "plain", "bytes", "tree", "items", "pandas", "polars", "arrow", "sparse", "torch"]
)
def test_a_format_that_cannot_store_the_value_says_so(name):
    with pytest.raises(InvalidInputError, match=name):
        encode(Celsius(3), format=name)
