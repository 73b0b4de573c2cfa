"""Data that a caller has, made what a signature says: checked, put in order, cast without loss, in the right container.

All problems are told at once, each with its column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflowish.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

    from mlflowish.models.signature import Signature


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one column. `kind` is "missing", "superfluous", "type", "nulls" or "shape"."""

    column: str
    kind: str
    text: str


def conformed(signature: Signature | None, data: Any, container: str = "") -> Any:
    """`data` as a model of this signature takes them; without a signature, tables in the `container` of the flavor.

    InvalidInputError, with `.problems`, if they do not fit.
    """
    if signature is None:
        return _placed(data, container)
    from mlflowish.models.arrays import conformed_array
    from mlflowish.models.tables import conformed_table

    wanted = signature.container or container
    if signature.inputs.names == [""]:
        return conformed_array(signature.inputs.field(0), data, wanted)
    return conformed_table(signature.inputs, data, wanted)


def _placed(data: Any, container: str) -> Any:
    if not container or isinstance(data, (str, bytes)):
        return data
    from mlflowish.models.containers import as_table, container_of, is_table
    from mlflowish.models.delivering import in_container

    if container_of(data) in ("pandas", "numpy", "torch", container) or not is_table(data):
        return data
    return in_container(as_table(data), container)


_MOST_SHOWN, _MOST_FIELDS, _MOST_ALIKE = 8, 40, 200
_ADVICE = {
    "type": "Cast what differs, or store the model with an example of these types.",
    "nulls": "Fill what is missing, or store the model with infer_signature(example, nullable=[...]) if it takes that.",
}


def require_no(problems: list[Problem], schema: pa.Schema) -> None:
    """InvalidInputError that tells all problems, if there are any."""
    if not problems:
        return
    from mlflowish.models.signature import field_text

    shown = "; ".join(problem.text for problem in problems[:_MOST_SHOWN])
    more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
    takes = ", ".join(map(field_text, list(schema)[:_MOST_FIELDS])) or "nothing"
    takes += f" and {len(schema) - _MOST_FIELDS} more" if len(schema) > _MOST_FIELDS else ""
    kinds = {problem.kind for problem in problems}
    advice = "".join(f" {text}" for kind, text in _ADVICE.items() if kind in kinds)
    raise InvalidInputError(
        f"The data do not fit the model's signature: {shown}{more}. It takes {takes}.{advice}",
        problems=tuple(problems),
        column=problems[0].column,
        columns=tuple(problem.column for problem in problems),
    )


def names_problems(schema: pa.Schema, names: Any) -> list[Problem]:
    """Columns that are missing, superfluous, or there twice."""
    from collections import Counter
    from difflib import get_close_matches

    known = schema.names
    found, wanted = set(names), set(known)
    problems: list[Problem] = []
    superfluous = [name for name in names if name not in wanted]
    texts = [str(name) for name in superfluous[:_MOST_ALIKE]]
    for name in known:
        if name not in found:
            hint = ""
            if len(problems) < _MOST_SHOWN:  # nobody sees the others, and looking for what is alike takes long
                alike = [text for text in texts if text.casefold() == name.casefold()]
                near = alike or get_close_matches(name, texts, n=1)
                hint = f" (there is {near[0]!r})" if near else ""
            problems.append(Problem(name, "missing", f"column {name!r} is missing{hint}"))
    for name in superfluous:
        problems.append(Problem(str(name), "superfluous", f"column {name!r} is superfluous"))
    if len(found) < len(names):
        for name, count in Counter(names).items():
            if count > 1 and name in wanted:
                problems.append(Problem(str(name), "superfluous", f"column {name!r} is there twice"))
    return problems


def no_column(field: pa.Field, error: Exception) -> Problem:
    """What is wrong with values that Arrow has no column for, by the error that says so."""
    from mlflowish.models.signature import type_text

    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return Problem(field.name, "type", f"column {field.name!r} must be {type_text(field.type)}: {reason}")
