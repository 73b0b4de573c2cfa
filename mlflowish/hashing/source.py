"""The syntax of running code, checked: source on disk may have been edited since it was imported.

A file is parsed and compiled once per state of the file; the tree of a function is used only if the code object
compiled from it is the one that runs. Notebook cells and `exec` with a `linecache` entry work alike.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import os
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from types import CodeType

from mlflowish.hashing import bytecode
from mlflowish.hashing.units import FunctionNode, TooDeepError, Unit, function_unit, hints_of

_MAX_REMEMBERED = 20_000
_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


@dataclass(slots=True)
class Located:
    """A function's syntax and the name of the class around it."""

    node: FunctionNode
    class_name: str | None


@dataclass(slots=True)
class SourceText:
    """One state of one source: its lines, its tree, and the code objects that it compiles to."""

    text: str
    tree: ast.Module
    functions: dict[int, list[Located]]
    _codes: dict[int, dict[tuple[str, int], list[CodeType]]] = field(default_factory=dict)
    _filename: str = "<source>"
    is_cell: bool = False

    def codes(self, like: CodeType) -> dict[tuple[str, int], list[CodeType]]:
        """Code objects that this source compiles to, by name and first line, with the future statements of `like`.

        A notebook carries `from __future__` of one cell over to the next.
        """
        flags = like.co_flags & _FUTURE
        if flags not in self._codes:
            found: dict[tuple[str, int], list[CodeType]] = {}
            # A kernel compiles the statements of a cell one by one, and a call of `np.sin` compiles in another way
            # in sight of its import.
            alone = [ast.Module([statement], []) for statement in self.tree.body] if self.is_cell else []
            for module in (self.tree, *alone):
                compiled = compile(module, self._filename, "exec", flags=flags, dont_inherit=True)
                for code in bytecode.nested(compiled):
                    found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
            self._codes[flags] = found
        return self._codes[flags]

    def text_of(self, node: FunctionNode) -> str:
        """The source of a function: whole lines, decorators and comments included."""
        if isinstance(node, ast.Lambda):
            return ast.get_source_segment(self.text, node) or ""
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return "\n".join(self.text.splitlines()[first - 1 : node.end_lineno])


_sent: dict[CodeType, tuple[Unit, bytes, bool]] = {}
_files: dict[str, tuple[tuple[object, ...], SourceText | None]] = {}
_units: dict[int, tuple[CodeType, Unit, FunctionNode | None]] = {}
_lock = Lock()


def unit_of(code: CodeType) -> Unit:
    """The unit of running code: its canonical syntax if the source is its source, else its bytecode."""
    return _remembered(code)[1]


def syntax_of(code: CodeType) -> FunctionNode | None:
    """The syntax tree of running code; None where no source at hand compiles to it."""
    return _remembered(code)[2]


def hints_of_code(code: CodeType) -> bytes:
    """A digest of the annotations of a function as written."""
    if (sent := _known_as_sent(code)) is not None:
        return sent[1]
    node = _remembered(code)[2]
    return hints_of(node) if node is not None else b""


def known_units(codes: Iterable[CodeType]) -> tuple[tuple[CodeType, Unit, bytes], ...]:
    """What is known of these code objects, to be sent along to a process that gets the code and has not its source."""
    return tuple((code, unit_of(code), hints_of_code(code)) for code in codes)


def learn_units(units: Iterable[tuple[CodeType, Unit, bytes]], *, copies_only: bool = False) -> None:
    """Know equal code objects by these units, whatever source lies here under the same name.

    `copies_only`: where the code is from, only copies that came back from elsewhere: what has a source goes by it.
    """
    if len(_sent) > _MAX_REMEMBERED:
        _sent.clear()
    for code, unit, hints in units:
        if not copies_only or code not in _sent:
            _sent[code] = unit, hints, not copies_only


def _known_as_sent(code: CodeType) -> tuple[Unit, bytes] | None:
    sent = _sent.get(code)
    # Cloudpickle leaves no other name on what it copies.
    return sent[:2] if sent is not None and (sent[2] or code.co_filename == "<dynamic-code>") else None


def source_of_file(path: str) -> SourceText | None:
    """The parsed source of a file in its present state, or None if there is none that parses."""
    try:
        stat = os.stat(path)
    except OSError:
        return _read_cached_lines(path)
    state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    known = _files.get(path)
    if known is not None and known[0] == state:
        return known[1]
    parsed = _parse(_read(path), path)
    _files[path] = (state, parsed)
    return parsed


def _remembered(code: CodeType) -> tuple[CodeType, Unit, FunctionNode | None]:
    known = _units.get(id(code))
    if known is not None and known[0] is code:
        return known
    with _lock:
        if len(_units) > _MAX_REMEMBERED:
            _units.clear()
        # The entry keeps the code object alive, so its id cannot be given to another.
        _units[id(code)] = entry = (code, *_build(code))
    return entry


def _build(code: CodeType) -> tuple[Unit, FunctionNode | None]:
    if (sent := _known_as_sent(code)) is not None:
        return sent[0], None
    source = source_of_file(code.co_filename)
    located = _locate(source, code) if source is not None else None
    if source is None or located is None:
        return bytecode.bytecode_unit(code), None
    text = source.text_of(located.node)
    try:
        return function_unit(located.node, class_name=located.class_name, text=text), located.node
    except TooDeepError:
        return bytecode.bytecode_unit(code), None


def _locate(source: SourceText, code: CodeType) -> Located | None:
    """The syntax in `source` whose compiled code is `code`."""
    twin = _twin(source, code)
    if twin is None:
        return None
    candidates = [
        located
        for located in source.functions.get(twin.co_firstlineno, ())
        if getattr(located.node, "name", "<lambda>") == twin.co_name or _mangled(located) == twin.co_name
    ]
    if len(candidates) > 1:
        candidates = _covering(candidates, twin)
    return candidates[0] if len(candidates) == 1 else None


def _mangled(located: Located) -> str:
    name = getattr(located.node, "name", "")
    return f"_{(located.class_name or '').lstrip('_')}{name}" if name.startswith("__") else name


def _twin(source: SourceText, code: CodeType) -> CodeType | None:
    """The code object compiled from `source` that is the same as the running one, wherever it moved to."""
    every = source.codes(code)
    for compiled in every.get((code.co_name, code.co_firstlineno), ()):
        if compiled == code:
            return compiled
    running = bytecode.normalised(code)
    named = [found for codes in every.values() for found in codes if found.co_qualname == code.co_qualname]
    same = [compiled for compiled in named if bytecode.normalised(compiled) == running]
    nearest = sorted(same, key=lambda found: abs(found.co_firstlineno - code.co_firstlineno))
    return nearest[0] if nearest else None


def _covering(candidates: list[Located], code: CodeType) -> list[Located]:
    """Of several functions on one line, the smallest whose body has all positions of the code."""
    spots = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in list(code.co_positions())
        if line is not None
        and end_line is not None
        and column is not None
        and end_column is not None
        # Instructions that the compiler adds at the start stand at column 0 without length.
        and (line, column) != (end_line, end_column)
    ]
    fitting = []
    for located in candidates:
        body = located.node.body if isinstance(located.node, ast.Lambda) else located.node
        start = (body.lineno, body.col_offset)
        end = (body.end_lineno or 0, body.end_col_offset or 0)
        if spots and all(start <= (a, b) and (c, d) <= end for a, b, c, d in spots):
            fitting.append(((end[0] - start[0], end[1] - start[1]), located))
    if not fitting:
        return []
    smallest = min(size for size, _ in fitting)
    return [located for size, located in fitting if size == smallest]


def _read(path: str) -> str | None:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _read_cached_lines(name: str) -> SourceText | None:
    """Source that exists only in `linecache`: cells of a notebook, code that a tool compiled."""
    entry = linecache.cache.get(name)
    if entry is None or len(entry) != 4:
        return None
    lines = entry[2]
    state = (id(lines), len(lines))
    known = _files.get(name)
    if known is not None and known[0] == state:
        return known[1]
    parsed = _parse("".join(lines), name)
    if parsed is not None:
        parsed.is_cell = True
    # The lines are kept so that their id stays theirs.
    _files[name] = (state, parsed)
    _kept_lines[name] = lines
    return parsed


_kept_lines: dict[str, list[str]] = {}


def _parse(text: str | None, filename: str) -> SourceText | None:
    if text is None:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return SourceText(text, tree, _functions_by_line(tree), _filename=filename)


def _functions_by_line(tree: ast.Module) -> dict[int, list[Located]]:
    found: dict[int, list[Located]] = {}
    for node, class_name in _with_class(tree):
        line = node.lineno
        if not isinstance(node, ast.Lambda) and node.decorator_list:
            line = min(line, node.decorator_list[0].lineno)
        found.setdefault(line, []).append(Located(node, class_name))
    return found


def _with_class(tree: ast.Module) -> Iterator[tuple[FunctionNode, str | None]]:
    stack: list[tuple[ast.AST, str | None]] = [(tree, None)]
    while stack:
        node, class_name = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node, class_name
        inner = node.name if isinstance(node, ast.ClassDef) else class_name
        stack.extend((child, inner) for child in ast.iter_child_nodes(node))
