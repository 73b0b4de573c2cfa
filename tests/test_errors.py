"""The tree of errors is the one that its docstring draws, and survives what errors go through."""

import copy
import inspect
import pickle
import re

import pytest

from mlflowish import errors
from mlflowish.errors import MissingExtraError, MlflowishError, NotFoundError, missing_extra, nearest

CLASSES = sorted(
    (c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, MlflowishError)), key=lambda c: c.__name__
)


def drawn_tree() -> dict[str, str]:
    """Class -> base, as the module's docstring draws them by indentation."""
    parents: list[tuple[int, str]] = []
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([ |+-]+)([A-Z]\w+Error)\b", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        parents = [(d, n) for d, n in parents if d < depth]
        tree[name] = parents[-1][1] if parents else ""
        parents.append((depth, name))
    return tree


def test_the_docstring_draws_every_class_under_its_base() -> None:
    actual = {c.__name__: c.__bases__[0].__name__ if c is not MlflowishError else "" for c in CLASSES}
    assert drawn_tree() == actual


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_class_has_a_code_of_its_own(cls: type[MlflowishError]) -> None:
    assert [other for other in CLASSES if other.code == cls.code] == [cls]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_travels_between_processes_with_its_data(cls: type[MlflowishError], copied) -> None:
    error = copied(cls("what was tried", path="a/b", count=3))
    assert type(error) is cls
    assert (error.message, str(error), error.path, error.count) == ("what was tried", "what was tried", "a/b", 3)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_the_public_name_of_an_error_is_at_the_top_of_the_package(cls: type[MlflowishError]) -> None:
    import mlflowish

    assert getattr(mlflowish, cls.__name__) is cls


def test_a_missing_name_is_a_key_error_whose_text_is_not_quoted() -> None:
    with pytest.raises(KeyError) as caught:
        raise NotFoundError("There is no 'x'")
    assert str(caught.value) == "There is no 'x'"


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = missing_extra("s3", needed_for="s3:// stores", cause=ImportError("no s3fs"))
    assert isinstance(error, MissingExtraError)
    assert error.extra == "s3"
    assert "pip install 'mlflowish[s3]'" in str(error)
    assert isinstance(error.__cause__, ImportError)


def test_the_nearest_names_come_most_similar_first() -> None:
    assert nearest("feature", ["train", "features", "load"])[0] == "features"


def test_no_more_names_are_offered_than_asked_for() -> None:
    assert len(nearest("x", [str(n) for n in range(100)], limit=3)) == 3
