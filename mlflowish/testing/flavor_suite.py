"""What every flavor must do, as tests: inherit, say what to store, run pytest.

import pytest
from mlflowish.models import register_flavor
from mlflowish.testing.flavor_suite import FlavorSuite

register_flavor(MyFlavor())

class TestMyFlavor(FlavorSuite):
    flavor = "mine"

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return my_fitted_model()

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls):
        return what_its_predict_takes()
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import mlflowish as mf
from mlflowish.hashing import hexdigest
from mlflowish.models import Manifest, StoredModel, find_flavor, flavor_named, open_model, store_model
from mlflowish.models.containers import as_table, is_table

_PLACES = ("pandas", "polars", "arrow", "dict", "list")


class FlavorSuite:
    """Inherit, and override `flavor`, `model` and `example`."""

    flavor = ""
    runs_code = False  # does loading the model run code that is stored with it?

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Any:
        """A fitted model of your kind."""
        raise NotImplementedError("override the fixture `model`")

    @pytest.fixture(scope="class")
    @classmethod
    def example(cls) -> Any:
        """What its `predict` takes."""
        raise NotImplementedError("override the fixture `example`")

    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, model: Any, example: Any, tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
        """The model in a store of its own."""
        store = mf.Store(tmp_path_factory.mktemp("flavor") / "store")
        return store_model(store, model, input_example=example)

    @pytest.fixture(scope="class")
    @classmethod
    def expected(cls, model: Any, example: Any) -> Any:
        """What the model itself says about the example."""
        return flavor_named(cls.flavor).predict(model, example)

    def same(self, found: Any, expected: Any) -> bool:
        """Are two answers of the model the same? Override where equal digests are not the word for it."""
        return hexdigest(found) == hexdigest(expected)

    def test_the_flavor_is_found_by_the_type_of_the_model(self, model: Any) -> None:
        assert find_flavor(model).name == self.flavor

    def test_the_model_comes_back_and_says_the_same(self, stored: StoredModel, example: Any, expected: Any) -> None:
        loaded = open_model(stored.store, stored.manifest_ref).load()
        assert self.same(loaded.predict(example), expected)

    def test_the_model_that_comes_back_is_of_the_same_type(self, model: Any, stored: StoredModel) -> None:
        assert isinstance(stored.load(), type(model))
        assert type(stored.load().native) is type(model)

    def test_two_loads_share_nothing(self, stored: StoredModel) -> None:
        assert stored.load().native is not stored.load().native

    def test_the_model_that_comes_back_can_be_stored_again(self, stored: StoredModel, example: Any) -> None:
        again = store_model(stored.store, stored.load(), input_example=example)
        assert again.manifest.options == stored.manifest.options
        assert self.same(again.load().predict(example), stored.load().predict(example))

    def test_code_in_it_is_marked_and_loads_by_permission_only(self, stored: StoredModel) -> None:
        assert stored.manifest.executes_code == self.runs_code
        if self.runs_code:
            with pytest.raises(mf.CapabilityError, match="allow_pickle"):
                stored.load(allow_pickle=False)
        else:
            stored.load(allow_pickle=False)

    def test_a_manifest_that_hides_its_code_is_refused_all_the_same(self, stored: StoredModel) -> None:
        if not self.runs_code:
            pytest.skip("the model runs no code when it is loaded")
        packed = stored.manifest.packed().replace(b'"executes_code":true', b'"executes_code":false')
        lying = StoredModel(stored.store, stored.manifest_ref, Manifest.unpacked(packed))
        assert not lying.manifest.executes_code
        with pytest.raises(mf.CapabilityError, match="allow_pickle"):
            lying.load(allow_pickle=False)

    def test_the_signature_says_what_it_takes_and_gives(self, stored: StoredModel) -> None:
        assert stored.signature is not None
        assert len(stored.signature.inputs) > 0
        assert stored.signature.outputs is not None

    @pytest.mark.parametrize("place", _PLACES)
    def test_any_table_will_do(self, stored: StoredModel, example: Any, expected: Any, place: str) -> None:
        if not is_table(example):
            pytest.skip("the model takes arrays")
        data = in_place(example, place)
        assert self.same(stored.load().predict(data), expected)

    def test_a_column_that_is_missing_or_superfluous_is_named(self, stored: StoredModel, example: Any) -> None:
        if not is_table(example):
            pytest.skip("the model takes arrays")
        table = as_table(example)
        name = table.column_names[0]
        with pytest.raises(mf.InvalidInputError, match=f"{name!r} is missing"):
            stored.load().predict(table.drop_columns([name]))
        with pytest.raises(mf.InvalidInputError, match="'superfluous' is superfluous"):
            stored.load().predict(table.append_column("superfluous", table.column(0)))

    def test_the_environment_names_its_libraries(self, stored: StoredModel) -> None:
        from mlflowish.hashing.packages import distribution_of

        names = {package.name for package in stored.manifest.environment.packages}
        needed = {distribution_of(library) for library in flavor_named(self.flavor).libraries}
        assert {found[0] for found in needed if found is not None} <= names

    def test_damage_of_any_file_is_detected(self, stored: StoredModel) -> None:
        for file in stored.manifest.files:
            if file.path.startswith(("example", "code/")) or not file.ref.size_bytes:
                continue
            path = stored.store.storage.local_path(file.ref.path)
            assert path is not None
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            try:
                with pytest.raises(mf.IntegrityError):
                    stored.load()
            finally:
                stored.store.objects.put(whole)

    def test_the_proxy_is_the_model_to_everybody(self, stored: StoredModel, example: Any) -> None:
        loaded = stored.load()
        assert loaded == loaded.native
        assert repr(loaded) == repr(loaded.native)
        if stored.manifest.digest is not None:
            assert hexdigest(loaded) == hexdigest(loaded.native)

    def test_the_digest_of_what_comes_back_is_the_same(self, stored: StoredModel) -> None:
        if stored.manifest.digest is None:
            pytest.skip("the model has no digest")
        assert hexdigest(stored.load()) == stored.manifest.digest

    def test_copies_are_models_too(self, stored: StoredModel, example: Any, expected: Any) -> None:
        loaded = stored.load()
        for twin in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
            assert twin.signature == loaded.signature
            assert twin.native is not loaded.native
            assert self.same(twin.predict(example), expected)


def in_place(example: Any, place: str) -> Any:
    """An example with named columns in another container."""
    table = as_table(example)
    if place == "pandas":
        return table.to_pandas()
    if place == "polars":
        import polars

        return polars.from_arrow(table)
    if place == "arrow":
        return table
    return table.to_pydict() if place == "dict" else table.to_pylist()
