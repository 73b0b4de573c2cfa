"""PyTorch, where it is installed: it is too large to be among the packages that every test run needs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from mlflowish.errors import UncacheableError
from mlflowish.hashing import digest

torch = pytest.importorskip("torch", reason="torch is not installed: it is no part of the extra 'test'")
pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own deprecations are not ours to hold


def by_name(obj: object, path: str) -> bytes:
    return f"{getattr(obj, '__module__', '')}:{getattr(obj, '__qualname__', obj)}".encode()


def of(value: Any) -> bytes:
    return digest(value, code=by_name)


def square() -> Any:
    return torch.arange(9.0).reshape(3, 3)


def network(seed: int = 0, width: int = 2) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.Dropout(0.1))


DISTINCT: dict[str, Callable[[], Any]] = {
    **{str(kind): lambda kind=kind: torch.zeros(3, dtype=kind) for kind in (
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int64, torch.bool,
        torch.complex64,
    )},
    "0-d": lambda: torch.tensor(0.0),
    "empty": lambda: torch.zeros(0),
    "empty rows": lambda: torch.zeros(0, 3),
    "negative zero": lambda: -torch.zeros(3),
    "square": square,
    "transposed square": lambda: square().T,
    "flat square": lambda: square().ravel(),
    "needs a gradient": lambda: torch.zeros(3, requires_grad=True),
    "parameter": lambda: torch.nn.Parameter(torch.zeros(3)),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "dense": lambda: torch.eye(3),
    "numpy": lambda: torch.zeros(3).numpy(),
    "list": lambda: [0.0, 0.0, 0.0],
    "network": network,
    "other weights": lambda: network(seed=1),
    "other width": lambda: network(width=3),
    "evaluating": lambda: network().eval(),
    "frozen": lambda: network().requires_grad_(False),
    "layer": lambda: network()[0],
    "weights": lambda: network().state_dict(),
    "optimizer": lambda: torch.optim.Adam(network().parameters()),
    "other optimizer": lambda: torch.optim.Adam(network().parameters(), lr=0.1),
    "dtype": lambda: torch.float32,
    "other dtype": lambda: torch.float64,
    "device": lambda: torch.device("cpu"),
    "size": lambda: torch.Size([1, 2]),
    "generator": lambda: torch.Generator().manual_seed(1),
    "other generator": lambda: torch.Generator().manual_seed(2),
}  # fmt: skip


def test_tensors_and_their_relatives_have_digests_of_their_own() -> None:
    digests = {name: of(make()) for name, make in DISTINCT.items()}
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize("name", DISTINCT)
def test_a_digest_survives_pickling_and_copying(name: str) -> None:
    value = DISTINCT[name]()
    if name != "sparse rows":  # which torch can neither pickle nor copy
        assert of(pickle.loads(pickle.dumps(value))) == of(copy.deepcopy(value)) == of(value)
    assert of(DISTINCT[name]()) == of(value)


def test_strides_are_invisible() -> None:
    assert of(square()) == of(square().T.contiguous().T) == of(torch.arange(18.0)[:9].reshape(3, 3))
    assert of(torch.zeros(1, 3).expand(2, 3)) == of(torch.zeros(2, 3))


def test_every_nan_is_one() -> None:
    assert of(torch.tensor([float("nan")])) == of(-torch.tensor([float("nan")]))


def test_lazy_conjugates_and_signs_are_seen() -> None:
    value = torch.tensor([1 + 2j])
    assert of(value.conj()) == of(torch.tensor([1 - 2j])) != of(value)


def test_a_gradient_is_not_the_value() -> None:
    layer = torch.nn.Linear(3, 2)
    before = of(layer)
    layer(torch.zeros(1, 3)).sum().backward()
    assert of(layer) == before


def test_a_tensor_without_elements_to_read_is_refused() -> None:
    with pytest.raises(UncacheableError, match="meta"):
        of(torch.zeros(2, device="meta"))
