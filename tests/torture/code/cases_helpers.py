"""Helpers at any depth, however they are imported."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

TWO = """
## app.py
from lib import h
def f(x):
    return h(x)
## lib.py
K = 1
def h(x):
    return deep(x)
def deep(x):
    return x + 1
def unrelated(x):
    return x
"""
miss("helper two down", TWO, ("x + 1", "x + 2"))
hit("unrelated helper", TWO, ("def unrelated(x):\n    return x", "def unrelated(x):\n    return -x"))
hit("unrelated global of the helper's module", TWO, ("K = 1", "K = 2"))
hit("deep helper renamed", TWO, ("deep", "deeper"))
hit("helper moved to another module", TWO, "## app.py\nfrom lib2 import h\ndef f(x):\n    return h(x)\n## lib2.py\ndef h(x):\n    return deep(x)\ndef deep(x):\n    return x + 1\n## lib.py\n")
hit("helper moved into the app", TWO, "## app.py\ndef h(x):\n    return deep(x)\ndef deep(x):\n    return x + 1\ndef f(x):\n    return h(x)\n## lib.py\n")
hit("from-import becomes module attribute", TWO, ("from lib import h", "import lib"), ("return h(x)", "return lib.h(x)"))
hit("alias", TWO, ("import h", "import h as g"), ("return h(x)", "return g(x)"))
hit("module alias", TWO.replace("from lib import h", "import lib").replace("return h(x)", "return lib.h(x)"), ("import lib", "import lib as tools"), ("lib.h", "tools.h"))
miss("another helper under the same name", TWO, ("from lib import h", "from lib import unrelated as h"))

ATTR = """
## app.py
import lib
def f(x):
    return lib.h(x) + lib.K
## lib.py
K = 1
J = 1
def h(x):
    return x + 1
"""
miss("module attribute function", ATTR, ("x + 1", "x + 2"))
miss("module attribute value", ATTR, ("K = 1", "K = 2"))
miss("module attribute type", ATTR, ("K = 1", "K = 1.0"))
hit("module attribute not used", ATTR, ("J = 1", "J = 2"))

PACKAGE = """
## app.py
import pkg.cfg
import pkg
from pkg import public
def f(x):
    return pkg.cfg.K + public(x)
## pkg/__init__.py
from pkg.impl import public
from . import cfg
VERSION = "1"
## pkg/impl.py
from .low import base
def public(x):
    return base(x) * 2
## pkg/low.py
def base(x):
    return x + 1
## pkg/cfg.py
K = 10
OTHER = 3
"""
miss("attribute chain through a package", PACKAGE, ("K = 10", "K = 11"))
miss("re-exported helper", PACKAGE, ("* 2", "* 3"))
miss("below a re-exported helper", PACKAGE, ("x + 1", "x + 2"))
hit("other name in the config", PACKAGE, ("OTHER = 3", "OTHER = 4"))
hit("package version text", PACKAGE, ('"1"', '"2"'))
hit("re-export moved", PACKAGE, ("from pkg.impl import public\nfrom .", "from pkg.impl import base\nfrom pkg.impl import public\nfrom ."))
hit("package renamed", PACKAGE, "## app.py\nimport box.cfg\nimport box\nfrom box import public\ndef f(x):\n    return box.cfg.K + public(x)\n## box/__init__.py\nfrom box.impl import public\nfrom . import cfg\n## box/impl.py\nfrom .low import base\ndef public(x):\n    return base(x) * 2\n## box/low.py\ndef base(x):\n    return x + 1\n## box/cfg.py\nK = 10\n")

miss("star import", "## app.py\nfrom lib import *\ndef f(x):\n    return h(x)\n## lib.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("star import shadowed", "## app.py\nfrom lib import *\ndef f(x):\n    return h(x)\n## lib.py\ndef h(x):\n    return x + 1", ("from lib import *\n", "from lib import *\ndef h(x):\n    return x\n"))
miss("relative import", "## app.py\nfrom pkg.a import g\ndef f(x):\n    return g(x)\n## pkg/__init__.py\n## pkg/a.py\nfrom .b import h\ndef g(x):\n    return h(x)\n## pkg/b.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("relative import of a module", "## app.py\nfrom pkg.a import g\ndef f(x):\n    return g(x)\n## pkg/__init__.py\n## pkg/a.py\nfrom . import b\ndef g(x):\n    return b.h(x)\n## pkg/b.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("namespace package", "## app.py\nfrom space.a import h\ndef f(x):\n    return h(x)\n## space/a.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("import in try", "## app.py\ntry:\n    from fast import h\nexcept ImportError:\n    from slow import h\ndef f(x):\n    return h(x)\n## slow.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("fallback appears", "## app.py\ntry:\n    from fast import h\nexcept ImportError:\n    from slow import h\ndef f(x):\n    return h(x)\n## slow.py\ndef h(x):\n    return x + 1", "## app.py\ntry:\n    from fast import h\nexcept ImportError:\n    from slow import h\ndef f(x):\n    return h(x)\n## slow.py\ndef h(x):\n    return x + 1\n## fast.py\ndef h(x):\n    return x + 2\n")
miss("conditional definition", "import sys\nif sys.version_info >= (3, 0):\n    def h(x):\n        return x + 1\nelse:\n    def h(x):\n        return x\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
hit("the branch not taken", "import sys\nif sys.version_info >= (3, 0):\n    def h(x):\n        return x + 1\nelse:\n    def h(x):\n        return x\ndef f(x):\n    return h(x)", ("return x\n", "return -x\n"))
miss("recursion", "def f(n):\n    return 1 if n <= 1 else n * f(n - 1)", ("n * f", "2 * f"))
miss("mutual recursion", "def even(n):\n    return True if n == 0 else odd(n - 1)\ndef odd(n):\n    return False if n == 0 else even(n - 1)\ndef f(x):\n    return even(x)", ("return False", "return None"))
hit("mutual recursion untouched", "def even(n):\n    return True if n == 0 else odd(n - 1)\ndef odd(n):\n    return False if n == 0 else even(n - 1)\ndef f(x):\n    return even(x)", ("odd", "uneven"))
miss("recursion through a default", "def f(n, k=2):\n    return k * f(n - 1) if n else 1", ("k=2", "k=3"), call="f(3, 5)")
miss("default of a helper", "def h(x, k=1):\n    return x + k\ndef f(x):\n    return h(x)", ("k=1", "k=2"))
miss("keyword default of a helper", "def h(x, *, k=1):\n    return x + k\ndef f(x):\n    return h(x)", ("k=1", "k=2"))
miss("default computed", "def base():\n    return 1\ndef h(x, k=base()):\n    return x + k\ndef f(x):\n    return h(x)", ("return 1", "return 2"))
miss("default is a function", "def one(x):\n    return x + 1\ndef h(x, fn=one):\n    return fn(x)\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
miss("default moved to another parameter", "def h(x, a=1, b=2):\n    return x + a * 10 + b\ndef f(x):\n    return h(x)", ("a=1, b=2", "a=2, b=1"))
miss("called in an argument", "def h(x):\n    return x + 1\ndef f(x):\n    return max(h(x), 0)", ("x + 1", "x + 2"))
miss("passed to map", "def h(x):\n    return x + 1\ndef f(x):\n    return list(map(h, [x]))", ("x + 1", "x + 2"))
hit("passed to map, renamed", "def h(x):\n    return x + 1\ndef f(x):\n    return list(map(h, [x]))", ("h(x)", "hh(x)"), ("map(h", "map(hh"))
miss("key of a sort", "def key(v):\n    return v\ndef f(x):\n    return sorted([1, x, 2], key=key)", ("return v", "return -v"))
miss("name seen by a library", "import app_names\ndef spread(x):\n    return x\ndef f(x):\n    return app_names.label(spread)\n## app_names.py\ndef label(fn):\n    return fn.__name__", ("spread", "width"))
miss("used in a nested function", "def h(x):\n    return x + 1\ndef f(x):\n    def g():\n        return h(x)\n    return g()", ("x + 1", "x + 2"))
miss("used in a lambda", "def h(x):\n    return x + 1\ndef f(x):\n    return (lambda: h(x))()", ("x + 1", "x + 2"))
miss("used in a comprehension", "def h(x):\n    return x + 1\ndef f(x):\n    return [h(i) for i in range(x)]", ("x + 1", "x + 2"))
miss("used in a generator expression", "def h(x):\n    return x + 1\ndef f(x):\n    return sum(h(i) for i in range(x))", ("x + 1", "x + 2"))
miss("used in a condition", "def h(x):\n    return x > 1\ndef f(x):\n    return [i for i in range(x) if h(i)]", ("x > 1", "x > 0"))
miss("used in an f-string", "def h(x):\n    return x + 1\ndef f(x):\n    return f'{h(x)}'", ("x + 1", "x + 2"))
miss("used in a default of a nested function", "def h():\n    return 1\ndef f(x):\n    def g(k=h()):\n        return k\n    return g() + x", ("return 1", "return 2"))
miss("generator helper", "def g(n):\n    for i in range(n):\n        yield i\ndef f(x):\n    return list(g(x))", ("yield i", "yield -i"))
miss("context manager helper", "import contextlib\n@contextlib.contextmanager\ndef c():\n    yield 1\ndef f(x):\n    with c() as v:\n        return v + x", ("yield 1", "yield 2"))
miss("body of a nested class", "def h(x):\n    return x + 1\ndef f(x):\n    class C:\n        n = h(x)\n    return C.n", ("x + 1", "x + 2"))
miss("alias of a function", "def h(x):\n    return x + 1\ng = h\ndef f(x):\n    return g(x)", ("x + 1", "x + 2"))
miss("other function under an alias", "def h(x):\n    return x + 1\ndef k(x):\n    return x\ng = h\ndef f(x):\n    return g(x)", ("g = h", "g = k"))
miss("patched by its own module", "def h(x):\n    return x + 1\ndef better(x):\n    return x + 5\ndef f(x):\n    return h(x)", ("def f", "h = better\ndef f"))
miss("patched in another module", "## app.py\nimport lib\nlib.h = lambda x: x + 1\ndef f(x):\n    return lib.g(x)\n## lib.py\ndef h(x):\n    return x\ndef g(x):\n    return h(x)", ("x + 1", "x + 2"))
miss("patched library", "import json\njson.mine = lambda x: x + 1\ndef f(x):\n    return json.mine(x)", ("x + 1", "x + 2"))
miss("patched builtin", "import builtins\nbuiltins.shout = lambda x: x + 1\ndef f(x):\n    return shout(x)", ("x + 1", "x + 2"))
miss("builtin shadowed", "def f(x):\n    return len([x])", ("def f", "def len(v):\n    return 5\n\ndef f"))
miss("function attribute", "def h(x):\n    return x * h.k\nh.k = 2\ndef f(x):\n    return h(x)", ("h.k = 2", "h.k = 3"))
miss("function attribute from outside", "def h(x):\n    return x\nh.k = 2\ndef f(x):\n    return h.k * x", ("h.k = 2", "h.k = 3"))
hit("function attribute nobody reads", "def h(x):\n    return x\nh.k = 2\ndef f(x):\n    return h(x)", ("h.k = 2", "h.k = 3"))
