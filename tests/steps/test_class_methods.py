"""Steps above and below `@classmethod`."""

from __future__ import annotations

import mlflowish as mf


class Base:
    rate = 1

    @mf.step
    @classmethod
    def above(cls, x: int) -> int:
        return cls.rate + x

    @classmethod
    @mf.step
    def below(cls, x: int) -> int:
        return cls.rate + x


class Derived(Base):
    rate = 5


def test_a_class_method_is_called_with_the_class_it_is_called_on() -> None:
    with mf.Store("memory://class-methods-call"):
        assert [Base.above(1), Base().above(1), Derived.above(1), Derived().above(1)] == [2, 2, 6, 6]
        assert [Base.below(1), Derived().below(1)] == [2, 6]


def test_a_step_above_a_class_method_has_what_a_step_has() -> None:
    with mf.Store("memory://class-methods-surface"):
        Base.above(1)
        assert Base.above.call(1).hit
        assert Base().above.is_cached(1)
        assert not Derived.above.is_cached(1)
        assert Base.above.map([1, 2]) == [2, 3]
        assert Base.above.forget(1) == 1
