"""Bodies of pipelines, made up at random from what is allowed in a closed one and what is nearly allowed, and arguments
for them that are equal and not the same. As a program, for `test_pipeline_fuzz`: what the modules of a folder do.

    python pipeline_bodies.py facts FOLDER SEED BODIES     the key and the shape of each call
    python pipeline_bodies.py results FOLDER SEED BODIES   its result, from the store in the folder and without
"""

from __future__ import annotations

import importlib
import json
import random
import re
import sys
import warnings
from pathlib import Path

HEADER = """import mlflowish as mf

RATES, TABLE, WORDS, SEEN = [0.5, 1, True], {"b": 1, "a": [2, 3]}, ["s", "t", "u"], []


@mf.step
def note(*args, **kwargs):
    return ["note", list(args), list(kwargs.items())]


@mf.step
def pair(x) -> tuple[int, int]:
    return x, [x]


def helper(x, y=1, how=note):
    return how(y, x)


def changes(x):
    x.append(0)
    return x


def views(x):
    return x.keys()


def same(x):
    return x


@mf.pipeline
def nested(x, y=2):
    return [note(x, "none" if y is None else y), helper(x)]


"""
PARAMETERS = "xs, ys, n, x, d, m=2, seen=[], *rest, **more"


TEMPLATES = """
number:   n   m   0   1   True   2   1.0   -0.0   0.5   -1   len(<list>)   (<number> + <number>)
      (<number> - <number>)   (<number> * 2)   (<number> % 3)   <list>.count(<any>)   sum(RATES)
      round(<number>, 1)   int(<number>)   float(<number>)   abs(<number>)   max(<number>, <number>)
      (2 ** <number>)   (n := <number>)
text:   't'   ''   str(<any>)   f'{<any>}'   f'{<any>!r}'   f'{<number>:.2f}'   f'{<number>:n}'   '%s' % (<any>,)
      '{} {a}'.format(<any>, a=<any>)   '{0.__class__}'.format(<any>)   ','.join(WORDS)
      '-'.join(str(k) for k in <list>)   WORDS[len(<list>) % 3]   <text>.upper()   <text>.replace('t', 'u')
      str(lambda: 1)   str(k for k in <list>)   f'{note}'   f'{enumerate(xs)}'   str(<dict>.items())   str([<node>])
list:   xs   ys   rest   RATES   WORDS   []   [<any>]   [<any>, <any>]   (<any>,)   list(<dict>)   (<list> + <list>)
      list({<text>, <text>, 'z'})   [k for k in {'p', 'q', 'r', <text>}]   list(<dict>.keys() & {'a', 'b', 'p'})
      list(d.keys() | more.keys())   list(views(d) - views(TABLE))   sorted(<dict>.items(), key=str)
      sorted(<list>, key=str)   list(zip(<list>, <list>))   list(enumerate(<list>))   <list>[:2]
      [k for k in <list> if <condition>]   list(more)   [<any> for k in <list>]   list(reversed(<list>))
      [*xs, *more]   list(<dict>.values())   [f(n) for f in (note, pair)]   list(<list>)   xs.copy()   same(xs)
      [nan := float('nan'), nan]
dict:   d   more   TABLE   {}   {'a': <any>, 'c': <any>}   {**d, 'a': 1}   dict(zip(WORDS, <list>))   dict(d)
      {str(k): <any> for k in <list>}   d.copy()   dict(a=<any>)   (d | more)
condition:   x in xs   xs == ys   xs is ys   x is None   x == 1   n > 1   isinstance(x, int)   xs in [ys]
      not <list>   <any> in <list>   x is True   any(k is x for k in xs)   x is n   id(xs) == id(ys)   __debug__
      d.get('a') == 1   <text> in <dict>   x in {1, 'a', None}   type(x) is bool   <number> == <number>
      list(d) == ['a', 'b']   x not in ys   bool(rest)   d == {'a': 1}   {x, n} == {n}   <list>.count(x) > 1
      x in ys   xs in [ys]   ys == xs   [x] == xs[1:]
node:   note(<any>)   note(<any>, <any>)   note(<any>, k=<any>)   pair(<any>)   pair(<any>)[0]   nested(<any>)
      nested(<any>, <any>)   helper(<any>)   helper(<any>, <any>)   helper(<any>, how=pair)   note(*<list>)
      note(**more)   note(**d)   mf.when(<node>, lambda: note(<any>), <any>)
      mf.when(<condition>, lambda: note(<any>), note)   note.map(<list>)   note.map([<node>, <any>], k=<any>)
      [note, pair][n > 1](<any>)   note(lambda: n)
any:   <number>   <number>   <text>   <list>   <dict>   x   x   None   <node>   <condition>
change:   xs.append(<any>)   xs += [<any>]   ys.extend(<list>)   xs.insert(0, <any>)   d['k'] = <any>
      d.update(a=<any>)   seen.append(n)   SEEN.append(n)   changes(xs)   xs.pop()
      d.setdefault('l', []).append(<any>)   d['a'] += 1   x += [1]   x *= 2   del xs[0]   d.pop('a', None)
      TABLE['a'].append(1)   rest[0].append(1)
own:   v = []; v.append(<any>); w = v; out.append(note(w))   v = xs[:]; v.append(<any>); out.append(note(v, xs))
      v = list(xs); v.extend(<list>); out.append(note(v))   v = {}; v['a'] = <any>; out.append(note(v))
      v = [xs]; v[0].append(1)   v = xs; v.append(1)   v = dict(d); v['z'] = <any>; out.append(note(**v))
"""


# What makes a body open. Each body may have three of these, or hardly any would be closed.
WILD = (
    *(" is ", "id(", "isinstance", "type(", "__debug__", ":n}", "__class__", "lambda: 1", "str(k for", "f'{note}'"),
    *("f'{enum", "list({", "{'p'", ".keys() &", ".keys() |", "views(", "changes(", "<change>", "xs.pop()", "del d["),
    *("try", "match", "lambda: n", "xs; v.append", "v[0].append", "same(", "f in (note", "{'{<any>!r}"),
)


def kinds():
    """The templates of each kind of expression: a word in angle brackets is an expression of that kind."""
    found, kind = {}, ""
    for line in TEMPLATES.strip().splitlines():
        name, _, rest = line.partition(":") if not line.startswith(" ") else (kind, "", line)
        kind = name
        found.setdefault(kind, []).extend(each for each in re.split(" {3,}", rest) if each)
    return found


class Author:
    """Writes bodies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds = kinds()
        self._liked = self._refused = []

    STATEMENTS = (
        *["out.append(<node>)"] * 6,
        "n += <number>",
        "v = <any>; out.append(note(v))",
        "<own>",
        "<change>",
        *["xs.append(<any>); out.append(note(ys)); xs.pop()"] * 2,
        *["if <condition>: out.append(<node>)"] * 3,
        "d['u'] = 1; out.append(note(ys, d)); del d['u']",
        "a, b = pair(<any>); out.append(note(b))",
        "f = lambda q: note(q, <any>); out.append(f(<any>))",
        "assert <condition> or True, <text>",
        "out += [<node>]",
        "if <condition>:\n    <statement>\nelse:\n    <statement>",
        "if <condition>: out.append(<node>)",
        "for k in <list>:\n    out.append(note(k, <any>))",
        "for k, v in <dict>.items():\n    out.append(note(k, v))",
        "try:\n    <statement>\nexcept (TypeError, ValueError, IndexError):\n    out.append(note('caught'))",
        "match x:\n    case [a]:\n        <statement>\n    case int():\n        <statement>",
        "def inner(q, r=<any>):\n    return note(q, r, n)\nout.append(inner(<any>))",
        "if <condition> and n < 0: raise ValueError(<text>)",
    )

    def body(self, name: str) -> str:
        """A pipeline."""
        self._liked = self._random.sample(WILD, 3)
        self._refused = [wild for wild in WILD if wild not in self._liked]
        lines = ["out = []"]
        for _ in range(self._random.randint(1, 3)):
            lines += self._filled(self._one_of(self.STATEMENTS), 4).split("\n")
        lines.append("return out")
        return f"@mf.pipeline\ndef {name}({PARAMETERS}):\n" + "".join(f"    {line}\n" for line in lines) + "\n\n"

    def _one_of(self, templates) -> str:
        liked = [each for each in templates if any(wild in each for wild in self._liked)]
        if liked and self._random.random() < 0.3:
            return self._random.choice(liked)
        while True:
            found = self._random.choice(templates)
            if not any(wild in found and "is None" not in found and "is True" not in found for wild in self._refused):
                return found

    def _filled(self, template: str, depth: int) -> str:
        while "<" in template:
            start = template.find("<")
            kind = template[start + 1 : template.find(">", start)] if ">" in template[start:] else ""
            if kind == "statement":
                inner = self._filled(self._one_of(self.STATEMENTS[:9]), depth - 1)
            elif kind in self._kinds:
                # Where it is deep enough, the first templates of a kind, which are names and numbers.
                choices = self._kinds[kind] if depth > 0 else self._kinds[kind][:3]
                if kind == "any" and depth <= 0:
                    choices = ["x", "n", "xs"]
                inner = self._filled(self._one_of(choices), depth - 1)
            else:
                return template[: start + 1] + self._filled(template[start + 1 :], depth)
            indent = template[template.rfind("\n", 0, start) + 1 : start]
            inner = inner.replace("\n", "\n" + indent) if not indent.strip() else inner
            template = template[:start] + inner + template[start + len(kind) + 2 :]
        return template


def module_text(seed: int, bodies: int) -> str:
    """The source of a module with so many pipelines, `body_0` and on. All of them can be parsed."""
    author, text = Author(seed), HEADER
    for number in range(bodies):
        while True:
            body = author.body(f"body_{number}")
            try:
                compile(body, "body", "exec")
            except SyntaxError:  # a statement in the place of an expression, quotes within quotes before Python 3.12
                continue
            break
        text += body
    return text


def argument_sets(number):
    """Arguments, some of them equal and not the same. `number(n)` is a number, or a node in its place."""
    one, nan = number(1), float("nan")
    for x in (1, True, 1.0, 0.0, -0.0, "1", "a", None, (1,), 2**70, nan, float("inf"), one, [one]):
        yield ([1, 2], [1, 2], 1, x, {"a": 1, "b": 2}), {}
        yield ([x, 1], [x], 1, x, {"a": x}), {"p": 1, "q": x}
    same = [one, 2]
    yield (same, same, 1, 1, {"a": 1}), {}
    yield ([one, 2], [one, 2], 1, 1, {"a": 1}), {}
    yield (same, [1], 1, same, {"a": same}), {}
    yield ([one, 2], [1], 1, [one, 2], {"a": [one, 2]}), {}
    yield ([nan], [nan], 1, nan, {"a": nan}), {}
    yield ([float("nan")], [float("nan")], 1, float("nan"), {"a": float("nan")}), {}
    yield ([1], [one], 1, number(2), {"a": 1, "b": 2}), {"p": 1, "q": 2}
    yield ([1], [one], 1, one, {"b": 2, "a": 1}), {"q": 2, "p": 1}
    yield ([1], [True], 1.0, number(1), {"b": 2, "a": 1}, 2, [], same, same), {}
    yield ([1], [True], 1.0, number(1), {"b": 2, "a": 1}, 2, [], [one, 2], [one, 2]), {}
    yield ([], [], 5, "a", {}), {}


# -- as a program ----------------------------------------------------------------------------------


def facts(module, bodies: int, chosen):
    """Of each call: which it is, its key if it is closed, whether it would be recorded under it, and what it does."""
    import mlflowish as mf

    for number in range(bodies):
        pipeline = getattr(module, f"body_{number}")
        for place in chosen(number):
            for how in ("plain", "nodes"):
                calls = []

                @mf.pipeline
                def outer(place=place, pipeline=pipeline, calls=calls):
                    calls.append(argument(place, module.note))
                    return pipeline(*calls[-1][0], **calls[-1][1])

                if how == "plain":
                    yield f"{number}({place})", *_facts(pipeline, pipeline, *argument(place, lambda n: n), calls.pop)
                else:
                    known = argument(place, lambda n: ["note", [n], []])
                    yield f"{number}({place}n)", *_facts(outer, pipeline, *known, calls.pop)


def argument(place, number):
    """One of the argument sets, made anew."""
    return list(argument_sets(number))[place]


def _facts(traced, pipeline, args, kwargs, given):
    from mlflowish.errors import MlflowishError
    from mlflowish.pipelines.closed import asks_nodes
    from mlflowish.pipelines.passing import closed_key
    from mlflowish.pipelines.shape import shape_of
    from mlflowish.pipelines.trace import Trace

    identity = pipeline.identify(args, kwargs)
    trace = Trace(traced)
    try:
        if traced is pipeline:
            key = closed_key(pipeline, identity, args, kwargs)
            trace.body(args, kwargs)
        else:
            key = None
            try:
                trace.body((), {})
            finally:
                nodes = given()
                key = closed_key(pipeline, identity, *nodes)
        group = next(group for group in trace.groups if group.pipeline is pipeline)
        shape = shape_of(trace, group)
        what = f"{shape.hex() if shape is not None else '-'} {group.changes_state}"
        records = not group.changes_state and not asks_nodes(trace, group)
    except (Exception, MlflowishError) as error:  # noqa: BLE001  bodies are made up, and may raise anything
        what, records = f"raises {type(error).__name__}", False
    return key.hex() if key is not None else None, records, what


def results(module, bodies: int, chosen, store: Path):
    """Of each call: which it is, its result from this store, and that from a new one, which nobody has written to."""
    import mlflowish as mf

    for number in range(bodies):
        for place in chosen(number):
            found = []
            for where in (store, f"memory://{number}-{place}"):
                args, kwargs = argument(place, lambda n: n)
                with mf.Store(where):
                    try:
                        found.append(repr(getattr(module, f"body_{number}")(*args, **kwargs)))
                    except Exception as error:  # noqa: BLE001  bodies are made up, and may raise anything
                        found.append(f"raises {type(error).__name__}")
            yield f"{number}({place})", *found


def modules(folder: Path, seed: int, bodies: int):
    """The modules of a folder, each with the argument sets that a body is called with."""
    sys.path.insert(0, str(folder))
    drawn = random.Random(seed)
    pairs = range(28, 34)  # those that differ only in what is one object
    for path in sorted(folder.glob("bodies_*.py")):
        chosen = {number: [*drawn.sample(range(28), 6), *pairs] for number in range(bodies)}
        yield importlib.import_module(path.stem), chosen.__getitem__


def main(what: str, folder: str, seed: str, bodies: str) -> None:
    """Print what the modules of a folder do."""
    warnings.simplefilter("ignore")
    found = []
    for module, chosen in modules(Path(folder), int(seed), int(bodies)):
        if what == "facts":
            found += [fact for _ in range(2) for fact in facts(module, int(bodies), chosen)]
        else:
            found += results(module, int(bodies), chosen, Path(folder) / "store")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
