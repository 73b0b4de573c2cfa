"""Flavor `pytorch`: a module as its weights (safetensors) and its structure (pickled, without the weights).

The weights alone can be loaded into a module that the caller makes, which runs no stored code. TorchScript modules and
exported programs are stored in PyTorch's own formats for them: programs, so marked as code.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflowish.codecs import Declined
from mlflowish.codecs.classes import ClassUnpickler
from mlflowish.errors import CapabilityError, IntegrityError, InvalidInputError, MlflowishError
from mlflowish.models.flavors.base import Flavor, comes_from
from mlflowish.models.memory import laid_out, memory_record
from mlflowish.models.weights import read_weights, weights_part

if TYPE_CHECKING:
    from mlflowish.models.files import FileReader, FileWriter

_WEIGHTS = "weights.safetensors"
_MODULE = "module.pkl"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PROGRAMS = {"torchscript": "model.torchscript", "export": "model.pt2"}


class PytorchFlavor(Flavor):
    """torch.nn.Module, torch.jit.ScriptModule, torch.export.ExportedProgram."""

    name = "pytorch"
    libraries = ("torch",)
    extra = "torch"
    container = "torch"

    def fits(self, model: Any) -> bool:
        return comes_from(model, self.libraries, "Module", "ScriptModule", "ExportedProgram")

    def save(self, model: Any, files: FileWriter) -> Mapping[str, Any]:
        for format_, names in (("torchscript", ("ScriptModule",)), ("export", ("ExportedProgram",))):
            if comes_from(model, self.libraries, *names):
                files.add(_PROGRAMS[format_], _program(model, format_), executes_code=True)
                return {"format": format_}
        return _save_module(model, files)

    def load(self, files: FileReader, options: Mapping[str, Any]) -> Any:
        match options:
            case {"format": "module", "python": None | str() as python}:
                return _load_into(files) if files.into is not None else _load_module(files, python, options)
            case {"format": "torchscript" | "export" as format_}:
                return _load_program(files, format_)
        raise IntegrityError("The manifest of a PyTorch model has options that make no sense")

    def predict(self, model: Any, data: Any, **options: Any) -> Any:
        """What the module gives for a tensor, or for keyword arguments from a dict; evaluated, without gradients."""
        import torch

        arguments, keywords = _arguments(model, data)
        if hasattr(model, "graph_module") and not isinstance(model, torch.nn.Module):
            model = model.module()
            with torch.no_grad():
                return model(*arguments, **keywords, **options)
        modes = [(module, module.training) for module in model.modules()]
        try:
            model.eval()
            with torch.no_grad():
                return model(*arguments, **keywords, **options)
        finally:
            for module, mode in modes:
                module.training = mode


def _save_module(model: Any, files: FileWriter) -> dict[str, Any]:
    import torch

    state = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, torch.Tensor)}
    weights = _separable(state)
    files.add_part(_WEIGHTS, weights_part(weights))
    data = _pickled(model, {id(tensor): name for name, tensor in weights.items()})
    files.add(_MODULE, data, executes_code=True)
    return {"format": "module", "python": _PYTHON if b"cloudpickle" in data else None, **memory_record(weights)}


def _separable(state: dict[str, Any]) -> dict[str, Any]:
    """The tensors that a file of weights can hold; the others stay in the module."""
    kept = {}
    for name, tensor in state.items():
        try:
            weights_part({name: tensor})
            tensor.untyped_storage()
        except (Declined, NotImplementedError, RuntimeError):
            continue
        kept[name] = tensor
    return kept


def _pickled(model: Any, names: dict[int, str]) -> bytes:
    import cloudpickle
    import torch

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no annotations
        def persistent_id(self, member: Any) -> Any:
            if not isinstance(member, torch.Tensor) or (name := names.get(id(member))) is None:
                return None
            return name, isinstance(member, torch.nn.Parameter), member.requires_grad, str(member.device)

    stream = io.BytesIO()
    try:
        Pickler(stream, protocol=5).dump(model)
    except MlflowishError:
        raise
    except Exception as error:
        from mlflowish.models.flavors.python import unstorable

        raise unstorable(model, error) from error
    return stream.getvalue()


def _load_module(files: FileReader, python: str | None, options: Mapping[str, Any]) -> Any:
    files.require_code(
        _MODULE, instead="Its weights alone can be loaded into a module that you make: load(into=MyModule). "
    )
    if python not in (None, _PYTHON):
        raise CapabilityError(
            f"This module holds code of Python {python}, and this is Python {_PYTHON}. Load it with that version, or "
            "its weights into a module that you make: load(into=MyModule).",
            python=python,
        )
    weights = laid_out(read_weights(files.read(_WEIGHTS)), options)
    made: dict[str, Any] = {}

    class Unpickler(ClassUnpickler):
        def persistent_load(self, reference: Any, /) -> Any:
            name = reference[0]
            if name not in made:
                made[name] = _placed(weights[name], *reference[1:])
            return made[name]

    import torch  # noqa: F401  before anything of it is unpickled

    return Unpickler(io.BytesIO(files.read_code(_MODULE))).load()


def _placed(tensor: Any, is_parameter: bool, wants_gradient: bool, device: str) -> Any:
    import torch

    kind = device.partition(":")[0]
    if kind != "cpu" and getattr(getattr(torch, kind, None), "is_available", lambda: False)():
        tensor = tensor.to(device)
    if is_parameter:
        return torch.nn.Parameter(tensor, requires_grad=wants_gradient)
    return tensor.requires_grad_(wants_gradient)


def _load_into(files: FileReader) -> Any:
    import torch

    if not callable(files.into):  # modules are
        raise InvalidInputError(
            f"into= takes a torch.nn.Module, or what makes one when it is called, found {type(files.into).__name__}"
        )
    weights = read_weights(files.read(_WEIGHTS))
    module = files.into if isinstance(files.into, torch.nn.Module) else files.into()
    if not isinstance(module, torch.nn.Module):
        raise InvalidInputError(
            f"into= takes a torch.nn.Module, or what makes one when it is called; it made a {type(module).__qualname__}"
        )
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise InvalidInputError(
            f"The stored weights do not fit into {type(module).__qualname__}: {error}. Give the class, and the "
            "arguments, that the model was made with.",
        ) from error
    return module


def _program(model: Any, format_: str) -> bytes:
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings():
        # Whoever stores such a program knows that PyTorch has newer ways.
        warnings.simplefilter("ignore")
        torch.jit.save(model, stream) if format_ == "torchscript" else torch.export.save(model, stream)
    return stream.getvalue()


def _load_program(files: FileReader, format_: str) -> Any:
    data = io.BytesIO(files.read_code(_PROGRAMS[format_]))
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(data) if format_ == "torchscript" else torch.export.load(data)


def _arguments(model: Any, data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    from mlflowish.models.containers import container_of

    kind = container_of(data)
    if kind == "dict":
        return (), {name: torch.as_tensor(value) for name, value in data.items()}
    if kind == "pandas":
        return (torch.as_tensor(data.to_numpy(), dtype=_float_dtype(model)),), {}
    return (data if isinstance(data, torch.Tensor) else torch.as_tensor(data),), {}


def _float_dtype(model: Any) -> Any:
    parameters = model.parameters() if hasattr(model, "parameters") else ()
    return next((tensor.dtype for tensor in parameters if tensor.is_floating_point()), None)
