"""What a body gives to a step is what the step gets: or the pipeline says that it cannot be."""

import numpy as np
import pytest

import mlflowish as mf


class Settings:
    def __init__(self, rate):
        self.rate = rate


@mf.step
def total(array):
    return float(np.sum(array))


@mf.step
def rate_of(settings):
    return settings.rate


@pytest.fixture(autouse=True)
def store(tmp_path):
    with mf.Store(tmp_path / "store") as opened:
        yield opened


def test_an_array_that_the_body_changes_after_it_gave_it_is_refused():
    @mf.pipeline
    def changing(n: int):
        array = np.zeros(2)
        first = total(array)
        array[0] = n
        return first, total(array)

    with pytest.raises(mf.InvalidInputError, match=r"gives a ndarray to a step .*line 34\) and changes it") as caught:
        changing(3)
    assert caught.value.line == 34


def test_inside_containers_and_of_classes_too():
    @mf.pipeline
    def in_a_list(n: int):
        array = np.zeros(2)
        first = total([array])
        array += n
        return first

    @mf.pipeline
    def of_a_class(n: int):
        settings = Settings(1)
        first = rate_of(settings)
        settings.rate = n
        return first

    for pipeline in (in_a_list, of_a_class):
        with pytest.raises(mf.InvalidInputError, match="give them a copy"):
            pipeline(3)


def test_copies_and_what_is_left_alone_are_as_the_body_says():
    @mf.pipeline
    def copying(n: int):
        array = np.zeros(2)
        first = total(array.copy())
        array[0] = n
        return first, total(array), total([array, array])

    for _ in "12":
        assert copying(3) == (0.0, 3.0, 6.0)
