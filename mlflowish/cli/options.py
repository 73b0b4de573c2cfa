"""Options that commands share: which store, and how to print."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from mlflowish import settings
from mlflowish.errors import NotFoundError

if TYPE_CHECKING:
    from mlflowish.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Location:
    """A store as the command line names it: a URL or path, and options for its driver. `is_named`: by `--store`."""

    url: str
    options: dict[str, Any]
    is_named: bool = False

    def open(self) -> Store:
        """The opened store; nothing is created."""
        from mlflowish.store import Store

        return Store(self.url, **self.options)

    def open_existing(self) -> Store:
        """The same; NotFoundError if somebody named a place that has no store. The store of this folder may be new."""
        store = self.open()
        if self.is_named:
            _require_store(store)
        return store

    def require_store(self) -> None:
        """NotFoundError if nothing was ever stored there."""
        _require_store(self.open())

    @property
    def shown(self) -> str:
        """The URL as it may be printed: without a password."""
        return self.open().url

    @property
    def is_memory(self) -> bool:
        """Does it live and die with this process?"""
        return self.url.startswith("memory:")


def _require_store(store: Store) -> None:
    from mlflowish.store.layout import require_store

    require_store(store.storage)


def store_options(command: Command) -> Command:
    """Add `--store` and `-o`; the command gets them as one `location`."""
    command = click.option(
        "-o",
        "--option",
        "location",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_to_location,
        help="An option for the store's driver, for example -o endpoint_url=http://localhost:9000. VALUE may be JSON.",
    )(command)
    return click.option(
        "--store",
        "store",
        metavar="URL",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="A path or fsspec URL.",
    )(command)


def look_up_options(command: Command) -> Command:
    """The same for a command that looks for something by name: where there is no store at all, that is what it says."""

    @functools.wraps(command)
    def explained(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except NotFoundError:
            location: Location = kwargs["location"]
            location.require_store()
            raise

    return store_options(cast("Command", explained))


def json_option(command: Command) -> Command:
    """Add `--json`; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")(command)


def _remember(context: click.Context, _: click.Parameter, url: str | None) -> None:
    context.meta["mlflowish.store"] = url


def _to_location(context: click.Context, _: click.Parameter, pairs: tuple[str, ...]) -> Location:
    options = dict(_parsed(pair) for pair in pairs)
    named = context.meta.get("mlflowish.store")
    return Location(named or settings.default_store_url(), options, bool(named))


def _parsed(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"{pair!r} is not KEY=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
