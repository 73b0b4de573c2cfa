"""Globals, closures, class attributes and configuration: values that code reads."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss


def value(name, old, new, use="K", prelude="", expect=miss, **options):
    """A function that reads a global, which is edited."""
    text = f"{prelude}\nK = {{}}\ndef f(x):\n    return [x, {use}]\n"
    expect(name, text.replace("{}", old), text.replace("{}", new), **options)


value("int", "1", "2")
value("int to bool", "1", "True")
value("bool to float", "True", "1.0")
value("float to text", "1.0", "'1'")
value("text to bytes", "'a'", "b'a'")
value("zeros", "0.0", "-0.0")
value("none", "None", "0")
value("tuple to list", "(1, 2)", "[1, 2]")
value("list content", "[1, 2]", "[1, 3]")
value("nested list", "[[1], [2]]", "[[1], [3]]")
value("dict value", "{'a': 1}", "{'a': 2}")
value("dict key", "{'a': 1}", "{'b': 1}")
value("dict order", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", use="list(K)")
value("set", "{1, 2}", "{1, 3}", use="sorted(K)")
value("set order", "{'a', 'b', 'c'}", "{'c', 'a', 'b'}", use="sorted(K)", expect=hit)
value("frozenset", "frozenset({1})", "frozenset({2})", use="sorted(K)")
value("equal value written otherwise", "1 + 1", "2", expect=hit)
value("computed alike", "[i for i in range(3)]", "[0, 1, 2]", expect=hit)
value("regular expression", "re.compile('a')", "re.compile('b')", prelude="import re", use="K.pattern")
value("date", "datetime.date(2020, 1, 1)", "datetime.date(2020, 1, 2)", prelude="import datetime")
value("decimal", "Decimal('1')", "Decimal('1.0')", prelude="from decimal import Decimal", use="str(K)")
value("path", "Path('a')", "Path('b')", prelude="from pathlib import Path", use="str(K)")
value("array", "np.arange(3)", "np.arange(4)", prelude="import numpy as np", use="K.sum()", needs="numpy")
value("array dtype", "np.arange(3, dtype='i4')", "np.arange(3, dtype='i8')", prelude="import numpy as np", use="str(K.dtype)", needs="numpy")
value("array layout", "np.ones((2, 3))", "np.ones((3, 2)).T", prelude="import numpy as np", use="K.sum()", expect=hit, needs="numpy")
value("namespace", "SimpleNamespace(a=1)", "SimpleNamespace(a=2)", prelude="from types import SimpleNamespace", use="K.a")
value("range", "range(3)", "range(4)", use="list(K)")
value("big int", "10**40", "10**41")
value("global renamed", "1", "1", expect=hit)

hit("value moved to another module", "## app.py\nfrom lib import K\ndef f(x):\n    return x + K\n## lib.py\nK = 5", "## app.py\nfrom lib2 import K\ndef f(x):\n    return x + K\n## lib2.py\nK = 5")
hit("value renamed", "K = 5\ndef f(x):\n    return x + K", ("K", "OFFSET"))
hit("from-import for a module attribute", "## app.py\nimport lib\ndef f(x):\n    return x + lib.K\n## lib.py\nK = 5", "## app.py\nfrom lib import K\ndef f(x):\n    return x + K\n## lib.py\nK = 5")
miss("bound by a for loop", "for K in range(3):\n    pass\ndef f(x):\n    return x + K", ("range(3)", "range(4)"))
miss("bound by with", "import io\nwith io.StringIO('a') as s:\n    K = s.read()\ndef f(x):\n    return K * x", ("'a'", "'b'"))
miss("bound by a walrus", "if (K := 3):\n    pass\ndef f(x):\n    return x + K", (":= 3", ":= 4"))
miss("bound by unpacking", "A, B = 1, 2\ndef f(x):\n    return x + B", ("1, 2", "1, 3"))
hit("bound by unpacking, other", "A, B = 1, 2\ndef f(x):\n    return x + B", ("1, 2", "5, 2"))
miss("changed after definition", "K = [1]\ndef f(x):\n    return x + len(K)\nK.append(2)", ("K.append(2)", "K.append(2)\nK.append(3)"))
miss("augmented at import", "K = 1\nK += 1\ndef f(x):\n    return x + K", ("K += 1", "K += 2"))
miss("set by globals()", "globals()['K'] = 1\ndef f(x):\n    return x + K", ("= 1", "= 2"))
miss("set by setattr on a module", "## app.py\nimport lib\nsetattr(lib, 'K', 2)\ndef f(x):\n    return x + lib.K\n## lib.py\nK = 1", ("'K', 2", "'K', 3"))
miss("defined below", "def f(x):\n    return x + K\nK = 1", ("K = 1", "K = 2"))
miss("helper defined below", "def f(x):\n    return h(x)\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("read by a helper", "K = 1\ndef h(x):\n    return x + K\ndef f(x):\n    return h(x)", ("K = 1", "K = 2"))
miss("another global of equal value, one of them written", "A = 0\nB = 0\ndef f(x):\n    global A\n    A = x\n    return g()\ndef g():\n    return A", ("return A", "return B"), stateful=True)
miss("another list of equal content, one of them changed", "A = []\nB = []\ndef f(x):\n    A.append(x)\n    return g()\ndef g():\n    return list(A)", ("list(A)", "list(B)"), stateful=True)
miss("global statement added", "K = 1\ndef f(x):\n    K = x\n    return g()\ndef g():\n    return K", ("    K = x", "    global K\n    K = x"), stateful=True)
miss("module attribute written", "## app.py\nimport lib\ndef f(x):\n    lib.A = x\n    return lib.get()\n## lib.py\nA = 0\nB = 0\ndef get():\n    return A", ("lib.A", "lib.B"), stateful=True)
hit("mutable state of nobody", "LOG = []\ndef note(v):\n    LOG.append(v)\ndef f(x):\n    return x", ("LOG.append(v)", "LOG.append((v, 1))"))
miss("sentinel", "A = object()\nB = object()\ndef h(v=A):\n    return v is A\ndef f(x):\n    return h()", ("v is A", "v is B"))
hit("sentinel untouched", "A = object()\ndef h(v=A):\n    return v is A\ndef f(x):\n    return h()", ("def f", "# note\ndef f"))
hit("logger as a global", "import logging\nlog = logging.getLogger('a')\ndef f(x):\n    log.debug('x')\n    return x", ("getLogger('a')", "getLogger('b')"))
hit("lock as a global", "import threading\nlock = threading.Lock()\ndef f(x):\n    with lock:\n        return x", ("import threading", "import threading  # locks"))
hit("thread local as a global", "import threading\nstate = threading.local()\ndef f(x):\n    return getattr(state, 'v', x)", ("def f", "# c\ndef f"))
hit("context variable", "import contextvars\nv = contextvars.ContextVar('v', default=1)\ndef f(x):\n    return v.get() + x", ("def f", "# c\ndef f"))

CLOSURE = """
def make(k):
    def inner(x):
        return x * k
    return inner
f = make(2)
g = make(3)
"""
miss("closure variable", CLOSURE, ("f = make(2)", "f = make(4)"))
miss("closure of the other", CLOSURE, ("f = make(2)", "f = g_ = make(3)"))
hit("other closure of the factory", CLOSURE, ("make(3)", "make(5)"))
miss("closure body", CLOSURE, ("x * k", "x + k"))
hit("factory body without effect on the cells", CLOSURE, ("def make(k):", "def make(k):\n    unused = 1"))
hit("closure variable renamed", CLOSURE, ("(k)", "(scale)"), ("x * k", "x * scale"))
miss("closure over a list", "def make():\n    items = [1]\n    def inner(x):\n        return x + len(items)\n    return inner\nf = make()", ("[1]", "[1, 2]"))
miss("closure over a function", "def h(x):\n    return x + 1\ndef make(fn):\n    def inner(x):\n        return fn(x)\n    return inner\nf = make(h)", ("x + 1", "x + 2"))
miss("closure two levels up", "def a(k):\n    def b():\n        def c(x):\n            return x + k\n        return c\n    return b\nf = a(1)()", ("a(1)", "a(2)"))
miss("closure in a helper", "def make(k):\n    def inner(x):\n        return x * k\n    return inner\nh = make(2)\ndef f(x):\n    return h(x)", ("make(2)", "make(3)"))
miss("closures sharing a cell", "def make():\n    n = 0\n    def put(v):\n        nonlocal n\n        n = v\n    def get():\n        return n\n    return put, get\nput, get = make()\nput2, get2 = make()\ndef f(x):\n    put(x)\n    return get()", ("return get()", "return get2()"), stateful=True)
miss("loop closures", "fns = [lambda x, i=i: x + i for i in range(3)]\ndef f(x):\n    return fns[1](x)", ("range(3)", "range(1, 4)"))

miss("instance as a global", "class Config:\n    def __init__(self, k):\n        self.k = k\ncfg = Config(1)\ndef f(x):\n    return x + cfg.k", ("Config(1)", "Config(2)"))
miss("method of a global instance", "class Model:\n    def __init__(self):\n        self.k = 1\n    def predict(self, x):\n        return x + self.k\nm = Model()\ndef f(x):\n    return m.predict(x)", ("x + self.k", "x - self.k"))
miss("callable instance", "class Add:\n    def __init__(self, k):\n        self.k = k\n    def __call__(self, x):\n        return x + self.k\nadd = Add(1)\ndef f(x):\n    return add(x)", ("x + self.k", "x - self.k"))
miss("state of a callable instance", "class Add:\n    def __init__(self, k):\n        self.k = k\n    def __call__(self, x):\n        return x + self.k\nadd = Add(1)\ndef f(x):\n    return add(x)", ("Add(1)", "Add(2)"))
miss("slots instance", "class P:\n    __slots__ = ('a',)\np = P()\np.a = 1\ndef f(x):\n    return x + p.a", ("p.a = 1", "p.a = 2"))
miss("bound method as a global", "class M:\n    def __init__(self, k):\n        self.k = k\n    def go(self, x):\n        return x + self.k\ngo = M(1).go\ndef f(x):\n    return go(x)", ("M(1)", "M(2)"))
miss("builtin bound method", "table = {3: 'a'}\nlook = table.get\ndef f(x):\n    return look(x)", ("'a'", "'b'"))
miss("function in a dict", "def a(x):\n    return x + 1\ndef b(x):\n    return x\nT = {'a': a, 'b': b}\ndef f(x):\n    return T['a'](x)", ("x + 1", "x + 2"))
hit("function in a dict renamed", "def a(x):\n    return x + 1\nT = {'a': a}\ndef f(x):\n    return T['a'](x)", ("def a(", "def better("), (": a}", ": better}"))
miss("function in a nested list", "def a(x):\n    return x + 1\nT = [[a]]\ndef f(x):\n    return T[0][0](x)", ("x + 1", "x + 2"))
miss("function below a function in a dict", "def low(x):\n    return x + 1\ndef a(x):\n    return low(x)\nT = {'a': a}\ndef f(x):\n    return T['a'](x)", ("x + 1", "x + 2"))
miss("registry filled by a decorator", "R = {}\ndef reg(fn):\n    R[fn.__name__] = fn\n    return fn\n@reg\ndef a(x):\n    return x + 1\ndef f(x):\n    return R['a'](x)", ("x + 1", "x + 2"))
miss("registry filled from another module", "## app.py\nimport plugins\nfrom reg import R\ndef f(x):\n    return R['a'](x)\n## reg.py\nR = {}\ndef reg(fn):\n    R[fn.__name__] = fn\n    return fn\n## plugins.py\nfrom reg import reg\n@reg\ndef a(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("module in a dict", "## app.py\nimport lib\nT = {'lib': lib}\ndef f(x):\n    return T['lib'].h(x)\n## lib.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("class in a list", "class A:\n    def m(self):\n        return 1\nL = [A]\ndef f(x):\n    return L[0]().m() + x", ("return 1", "return 2"))
miss("self-containing list", "K = [1]\nK.append(K)\ndef f(x):\n    return x + K[0]", ("[1]", "[2]"))
miss("mutable default of the entry", "def f(x, seen=[1]):\n    return x + len(seen)", ("[1]", "[1, 2]"))
