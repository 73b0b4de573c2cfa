"""The transparent `Model`: a native model that also validates what it is asked.

All but `native`, `predict` and `signature` goes to the native object: attributes, calls, operators, `isinstance`.
Python looks special methods up on the class, so each native class gets a proxy class of its own with those it has.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

from mlflowish.models.signature import Signature

# Never forwarded: what makes an object an object, and what Python asks of the proxy itself.
_OWN = frozenset(
    {
        "__class__",
        "__class_getitem__",
        "__del__",
        "__delattr__",
        "__dict__",
        "__dir__",
        "__doc__",
        "__getattr__",
        "__getattribute__",
        "__getnewargs__",
        "__getnewargs_ex__",
        "__getstate__",
        "__init__",
        "__init_subclass__",
        "__module__",
        "__new__",
        "__reduce__",
        "__reduce_ex__",
        "__setattr__",
        "__setstate__",
        "__sizeof__",
        "__slots__",
        "__subclasshook__",
        "__weakref__",
        "__copy__",
        "__deepcopy__",
        "__mlf_stands_for__",
        "__mlf_digest__",
        "__instancecheck__",
        "__subclasscheck__",
    }
)

_classes: weakref.WeakKeyDictionary[type, type[Model]] = weakref.WeakKeyDictionary()


class Model:
    """A model that validates: `predict(data)` checks the data against the signature and hands them to the native model
    in the form that it takes. For the rest it is the native model.

    `data`: pandas or polars frames, Arrow tables, numpy arrays, a dict of columns, a list of dicts. What comes back is
    what the native model gives. InvalidInputError names the columns that are missing, superfluous, or of a type that
    cannot be cast without loss.

    >>> import mlflowish as mf
    >>> model = mf.Model(lambda rows: [2 * n for n in rows["n"]], mf.infer_signature({"n": [1, 2]}))
    >>> model.predict({"n": [3]})
    [6]
    >>> model.predict({"m": [3]})
    Traceback (most recent call last):
    ...
    mlflowish.errors.InvalidInputError: ...column 'n' is missing...
    """

    __slots__ = ("__weakref__", "_mlf_flavor", "_mlf_native", "_mlf_signature")

    def __new__(cls, native: Any, signature: Signature | None = None, *, flavor: str | None = None) -> Model:
        native = native_of(native)
        proxy = object.__new__(_class_for(type(native)))
        _set(proxy, "_mlf_native", native)
        _set(proxy, "_mlf_signature", signature)
        _set(proxy, "_mlf_flavor", flavor)
        return proxy

    @property
    def native(self) -> Any:
        """The native model itself."""
        return _get(self, "_mlf_native")

    @property
    def signature(self) -> Signature | None:
        """What it takes and gives, if that is known."""
        found = _get(self, "_mlf_signature")
        if callable(found):  # read from a manifest when somebody asks
            found = found()
            _set(self, "_mlf_signature", found)
        return found  # type: ignore[no-any-return]

    def predict(self, data: Any, **options: Any) -> Any:
        """What the model says about `data`, after they were checked; options go to the native model."""
        from mlflowish.models.conforming import conformed
        from mlflowish.models.flavors import find_flavor

        native = _get(self, "_mlf_native")
        flavor = find_flavor(native, _get(self, "_mlf_flavor"))
        return flavor.predict(native, conformed(self.signature, data, flavor.container), **options)

    def __mlf_stands_for__(self) -> Any:
        """Digests and fingerprints are those of the native model."""
        return _get(self, "_mlf_native")

    def __copy__(self) -> Model:
        return _like(self, copy.copy(_get(self, "_mlf_native")))

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return _like(self, copy.deepcopy(_get(self, "_mlf_native"), memo))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restored, (_get(self, "_mlf_native"), self.signature, _get(self, "_mlf_flavor"))

    def __getattr__(self, name: str) -> Any:
        return getattr(_get(self, "_mlf_native"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_get(self, "_mlf_native"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_get(self, "_mlf_native"), name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(_get(self, "_mlf_native")), "native", "predict", "signature"})


def native_of(model: Any) -> Any:
    """The native model behind a proxy; anything else as it is."""
    return _get(model, "_mlf_native") if issubclass(type(model), Model) else model


def as_model(native: Any, signature: Any = None, *, flavor: str | None = None) -> Any:
    """`native` as a proxy if it can predict; anything else, and every class, as it is."""
    if isinstance(native, type) or not can_predict(native, flavor):
        return native
    return Model(native, signature, flavor=flavor)


def can_predict(native: Any, flavor: str | None) -> bool:
    """Is there a way to ask this model about data?"""
    from mlflowish.models.flavors import Flavor, flavor_named

    if callable(getattr(native, "predict", None)) or callable(native):
        return True
    return flavor is not None and type(flavor_named(flavor)).predict is not Flavor.predict


def _get(proxy: Model, name: str) -> Any:
    return object.__getattribute__(proxy, name)


def _set(proxy: Model, name: str, value: Any) -> None:
    object.__setattr__(proxy, name, value)


def _like(proxy: Model, native: Any) -> Model:
    return _restored(native, _get(proxy, "_mlf_signature"), _get(proxy, "_mlf_flavor"))


def _restored(native: Any, signature: Any, flavor: str | None) -> Model:
    return Model(native, signature, flavor=flavor)


def _class_for(native_class: type) -> type[Model]:
    """The proxy class with the special methods of `native_class`."""
    found = _classes.get(native_class)
    if found is None:
        body: dict[str, Any] = {"__slots__": (), "__module__": Model.__module__, "__doc__": Model.__doc__}
        body["__class__"] = property(lambda self: type(_get(self, "_mlf_native")))
        for name in dir(native_class):
            if name.startswith("__") and name.endswith("__") and name not in _OWN:
                method = getattr(native_class, name, None)
                if callable(method):
                    body[name] = _forwarded(name)
                elif method is None:  # `__hash__ = None` says that there is none
                    body[name] = None
        found = _classes[native_class] = type("Model", (Model,), body)
    return found


def _forwarded(name: str) -> Callable[..., Any]:
    def method(self: Model, *arguments: Any, **options: Any) -> Any:
        native = _get(self, "_mlf_native")
        return getattr(type(native), name)(native, *map(native_of, arguments), **options)

    method.__name__ = name
    return method
