"""What may be called what: models, stages, aliases, tags; and the ways to name one version of a model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlflowish.errors import InvalidInputError

LONGEST_NAME = 128
LONGEST_LABEL = 64
LONGEST_TEXT = 20_000
SCHEME = "models:/"
NAME_RULE = (
    f"1 to {LONGEST_NAME} letters and digits of any script, '.', '_', '-' and single spaces within, "
    "beginning with a letter or digit, ending with neither '.' nor a space"
)
LABEL_RULE = f"1 to {LONGEST_LABEL} letters and digits of any script, '.', '_' and '-', beginning with a letter"
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_VERSION_LIKE = re.compile(r"v[0-9]+\Z", re.IGNORECASE)


def model_name(name: object) -> str:
    """The name in its one stored form (Unicode NFC); InvalidInputError for one that no model can have."""
    text = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    if not _is_spelled(text, LONGEST_NAME, extra="._- ") or text[-1] in ". " or "  " in text or not text[0].isalnum():
        raise InvalidInputError(f"No model can be named {_shown(name)}: a name is {NAME_RULE}", found=name)
    return text


def stage_name(stage: object) -> str:
    """The stage in its one stored form: stages are the same in capitals and small letters."""
    text = unicodedata.normalize("NFC", stage.casefold()) if isinstance(stage, str) else ""
    if not _is_label(text) or text == "latest":
        message = f"No stage can be named {_shown(stage)}: a stage is {LABEL_RULE}, and not 'latest'"
        raise InvalidInputError(message, found=stage)
    return text


def alias_name(alias: object) -> str:
    """The alias in its one stored form; small letters and capitals differ."""
    text = unicodedata.normalize("NFC", alias) if isinstance(alias, str) else ""
    if not _is_label(text) or text.casefold() == "latest" or _VERSION_LIKE.match(text):
        raise InvalidInputError(
            f"No alias can be named {_shown(alias)}: an alias is {LABEL_RULE}, and neither 'latest' nor like 'v3'",
            found=alias,
        )
    return text


def version_number(version: object) -> int:
    """The number of a version, given as one or as its digits."""
    if isinstance(version, str) and _NUMBER.match(version):
        version = int(version)
    number = getattr(version, "version", version)  # a ModelVersion names itself
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 10**9:
        raise InvalidInputError(f"A version is a number from 1 on, found {_shown(version)}", found=version)
    return number


def description_text(description: object, *, what: str = "A description or comment") -> str:
    """A description, comment or reason: any text of reasonable length. `what` names it in the error."""
    if description is None:
        return ""
    if not isinstance(description, str) or len(description) > LONGEST_TEXT:
        size = f" of {len(description):,}" if isinstance(description, str) else ""
        raise InvalidInputError(
            f"{what} is text of at most {LONGEST_TEXT:,} characters, found {_shown(description)}{size}",
            found=type(description).__name__,
        )
    return description.encode("utf-8", "replace").decode()


def tags_of(tags: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Tags as texts by name; None means that the tag is to go."""
    return {_key("tag", key): None if value is None else _tag(key, value) for key, value in _items(tags)}


def metrics_of(metrics: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Metrics as floats by name, whatever number type they came in; None means that the metric is to go."""
    return {_key("metric", key): None if value is None else _number(key, value) for key, value in _items(metrics)}


@dataclass(frozen=True, slots=True)
class Selector:
    """Which version of a model is meant: by its number, its stage, an alias, or the newest one."""

    kind: Literal["version", "stage", "alias", "latest"]
    value: str = ""

    def __str__(self) -> str:
        return self.kind if self.kind == "latest" else f"{self.kind} {self.value}"


def target(name: object, *, stage: object = None, version: object = None, alias: object = None) -> tuple[str, Selector]:
    """The model and the selector that a caller's arguments mean: `name` may be a `models:/` address itself."""
    given = [word for word, value in (("stage", stage), ("version", version), ("alias", alias)) if value is not None]
    if isinstance(name, str) and name.startswith(SCHEME):
        if given:
            raise InvalidInputError(f"{name} says which version is meant; leave out {' and '.join(given)}", found=name)
        return _parsed(name)
    if len(given) > 1:
        raise InvalidInputError(f"Name a version by one of stage, version and alias; found {' and '.join(given)}")
    if stage is not None:
        return model_name(name), Selector("stage", stage_name(stage))
    if alias is not None:
        return model_name(name), Selector("alias", alias_name(alias))
    if version is None or version == "latest":
        return model_name(name), Selector("latest")
    return model_name(name), Selector("version", str(version_number(version)))


def _parsed(address: str) -> tuple[str, Selector]:
    """`models:/churn/3`, `models:/churn/production`, `models:/churn@champion`, `models:/churn/latest`."""
    name, slash, rest = address[len(SCHEME) :].partition("/")
    if not slash:
        name, at, alias = name.partition("@")
        if at:
            return model_name(name), Selector("alias", alias_name(alias))
    elif rest.casefold() == "latest":
        return model_name(name), Selector("latest")
    elif _NUMBER.match(rest):
        return model_name(name), Selector("version", str(version_number(rest)))
    elif rest and "/" not in rest:
        return model_name(name), Selector("stage", stage_name(rest))
    raise InvalidInputError(
        f"{address!r} names no version of a model. Write models:/churn/production, models:/churn/3, "
        "models:/churn@champion or models:/churn/latest",
        found=address,
    )


def _is_label(text: str) -> bool:
    return _is_spelled(text, LONGEST_LABEL, extra="._-") and text[0].isalpha()


def _is_spelled(text: str, longest: int, *, extra: str) -> bool:
    """Letters, digits and the marks that belong to letters: nothing that is invisible, or means something in a path."""
    return 0 < len(text) <= longest and all(char in extra or unicodedata.category(char)[0] in "LNM" for char in text)


def _items(given: Any) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        message = f"Tags and metrics are given as a dict from name to value, found {type(given).__name__}"
        raise InvalidInputError(message, found=type(given).__name__)
    return list(given.items())


def _key(what: str, key: object) -> str:
    if not isinstance(key, str) or not key.strip() or len(key) > 250 or not key.isprintable():
        message = f"The name of a {what} is printable text of 1 to 250 characters, found {_shown(key)}"
        raise InvalidInputError(message, found=key)
    return key


def _tag(key: str, value: object) -> str:
    return description_text(str(value), what=f"The tag {key!r}")


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError("text is no number")
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"The metric {key!r} is a number, found {_shown(value)}"
        raise InvalidInputError(message, metric=key, found=type(value).__name__) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
