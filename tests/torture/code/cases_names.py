"""Names and places that code reads about itself: they count there, and nowhere else."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss


def moved(name, old, expect=miss, head="", edits=(), tail="", **options):
    """A helper module that is renamed."""
    before = f"## app.py\nfrom old_lib import h\ndef f(x):\n    return h(x)\n## old_lib.py\n{head}\n{old}\n{tail}"
    after = before.replace("old_lib", "new_lib")
    for a, b in edits:
        after = after.replace(a, b)
    expect(name, before, after, **options)


moved("module's name returned", "def h(x):\n    return __name__")
moved("module's file returned", "def h(x):\n    return __file__.rpartition('/')[2]", in_place=True)
moved("module's spec returned", "def h(x):\n    return __spec__.name", in_place=True)
moved("module's package returned", "def h(x):\n    return __package__, __name__")
moved("module's name in a helper of the helper", "def low():\n    return __name__\ndef h(x):\n    return low()")
moved("module's name in a nested function", "def h(x):\n    def low():\n        return __name__\n    return low()")
moved("module's name as a value", "HERE = __name__\ndef h(x):\n    return HERE")
moved("module's name as a default", "def h(x, n=__name__):\n    return n")
moved("module's name in a class", "class A:\n    def m(self):\n        return __name__\ndef h(x):\n    return A().m()")
moved("module of a class", "class A:\n    pass\ndef h(x):\n    return A.__module__")
moved("module of an instance's class", "class A:\n    def m(self):\n        return type(self).__module__\ndef h(x):\n    return A().m()")
moved("module of an instance", "class A:\n    pass\ndef h(x):\n    return A().__module__")
moved("module of a function", "def low():\n    pass\ndef h(x):\n    return low.__module__")
moved("repr of a class", "class A:\n    pass\ndef h(x):\n    return repr(A)")
moved("text of a class in an f-string", "class A:\n    pass\ndef h(x):\n    return f'{A}'")
moved("logger named after its module", "log = logging.getLogger(__name__)\ndef h(x):\n    log.info('x')\n    return x", expect=hit, head="import logging")
moved("logger asked for in the function", "def h(x):\n    logging.getLogger(__name__).info('x')\n    return x", expect=hit, head="import logging")
moved("name only in the script part", "def h(x):\n    return x", expect=hit, tail="if __name__ == '__main__':\n    print(h(1))\n")
moved("class without a word about its place", "class A:\n    def m(self, x):\n        return x + 1\ndef h(x):\n    return A().m(x)", expect=hit)
moved("dataclass without a word about its place", "@dataclass\nclass A:\n    a: int\ndef h(x):\n    return A(x).a", expect=hit, head="from dataclasses import dataclass")
moved("exception raised and caught", "class E(Exception):\n    pass\ndef h(x):\n    try:\n        raise E\n    except E:\n        return x", expect=hit)
moved("file only for finding data", "DATA = Path(__file__).with_name('data.txt')\ndef h(x):\n    return DATA.suffix", expect=hit, head="from pathlib import Path", in_place=True)

miss("own name returned", "def f(x):\n    return f.__name__\n", "def g(x):\n    return g.__name__\nf = g\n")
miss("own qualified name returned", "class A:\n    @staticmethod\n    def g(x):\n        return A.g.__qualname__\nf = A.g\n", ("A", "B"))
miss("helper's name by getattr", "def h(): ...\ndef f(x):\n    return getattr(h, '__name__')", ("h()", "g()"), ("getattr(h", "getattr(g"))
miss("name of a class through an argument", "class A: ...\ndef f(a):\n    return type(a).__name__", ("class A", "class B"), ("class B: ...", "class B: ...\nA = B"), call="f(A())")
miss("name of a function argument", "def h(): ...\ndef f(fn):\n    return fn.__name__", "def g(): ...\nh = g\ndef f(fn):\n    return fn.__name__", call="f(h)")
miss("name of the frame", "import sys\ndef low():\n    return sys._getframe().f_code.co_name\ndef f(x):\n    return low()", ("low", "deep"))
miss("name of the caller", "import inspect\ndef low():\n    return inspect.stack()[1].function\ndef mid():\n    return low()\ndef f(x):\n    return mid()", ("mid", "middle"))
miss("name of a partial's function", "import functools\ndef h(x): ...\np = functools.partial(h, 1)\ndef f(x):\n    return p.func.__name__", ("h(x)", "g(x)"), ("partial(h", "partial(g"))
miss("names of functions in a table", "def a(): ...\nT = [a]\ndef f(x):\n    return [fn.__name__ for fn in T]", ("a()", "b()"), ("[a]", "[b]"))
miss("registered under its name", "R = {}\ndef reg(fn):\n    R[fn.__name__] = fn\n    return fn\n@reg\ndef a(x):\n    return x\ndef f(x):\n    return list(R)", ("def a(", "def b("))
miss("name of an enum's class", "import enum\nclass C(enum.Enum):\n    A = 1\ndef f(x):\n    return str(C.A)", ("class C", "class D"), ("str(C", "str(D"))
miss("type of an exception in its text", "class E(Exception): ...\ndef f(x):\n    try:\n        raise E\n    except Exception as e:\n        return type(e).__qualname__", ("class E", "class F"), ("raise E", "raise F"))
miss("name of a helper imported in the body", "## app.py\ndef f(x):\n    from lib import h\n    return h.__name__\n## lib.py\ndef h(): ...\n", ("h()", "g()"), ("import h", "import g"), ("h.__", "g.__"))
moved("module's name in a helper imported in the body", "def h(x):\n    return low()", tail="def low():\n    from more import place\n    return place()\n## more.py\ndef place():\n    return __name__\n", edits=[("## more.py", "## less.py"), ("from more", "from less")])
miss("line of an error in the result", "import traceback\ndef f(x):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        return traceback.format_exc().count('line 4')", ("def f", "\n\ndef f"))
miss("line numbers read", "import inspect\ndef f(x):\n    return inspect.currentframe().f_lineno\n", ("def f", "\n\ndef f"))
