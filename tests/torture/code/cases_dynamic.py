"""Imports inside functions and by name, dynamic dispatch, reflection."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss


def local(name, statement, use, *edits, expect=miss, lib="", **options):
    """A function that imports in its body."""
    library = lib or "K = 1\nJ = 1\ndef h(x):\n    return low(x)\ndef low(x):\n    return x + 1\ndef other(x):\n    return x\n"
    expect(name, f"## app.py\ndef f(x):\n    {statement}\n    return {use}\n## lib.py\n{library}", *edits, **options)


local("from-import in the body", "from lib import h", "h(x)", ("x + 1", "x + 2"))
local("module import in the body", "import lib", "lib.h(x)", ("x + 1", "x + 2"))
local("value of a module imported in the body", "import lib", "lib.K + x", ("K = 1", "K = 2"))
local("from-import of a value in the body", "from lib import K", "K + x", ("K = 1", "K = 2"))
local("aliased import in the body", "import lib as l", "l.h(x)", ("x + 1", "x + 2"))
local("unrelated function of a module imported in the body", "from lib import h", "h(x)", ("return x\n", "return -x\n"), expect=hit)
local("unrelated value of a module imported in the body", "import lib", "lib.h(x)", ("J = 1", "J = 2"), expect=hit)
local("comment in a module imported in the body", "import lib", "lib.h(x)", ("K = 1", "# constant\nK = 1"), expect=hit)
local("helper renamed in a module imported in the body", "from lib import h", "h(x)", ("h(x)", "hh(x)"), ("import h", "import hh"), expect=hit)
local("module moved, imported in the body", "from lib import h", "h(x)", "## app.py\ndef f(x):\n    from lib2 import h\n    return h(x)\n## lib2.py\nK = 1\nJ = 1\ndef h(x):\n    return low(x)\ndef low(x):\n    return x + 1\ndef other(x):\n    return x\n", expect=hit)
local("default in a module imported in the body", "from lib import h", "h(x)", ("k=1", "k=2"), lib="def h(x, k=1):\n    return x + k\n")
local("decorator in a module imported in the body", "from lib import h", "h(x)", ("* 2", "* 3"), lib="def deco(fn):\n    return lambda x: fn(x) * 2\n@deco\ndef h(x):\n    return x\n")
local("class in a module imported in the body", "from lib import A", "A().m(x)", ("x + 1", "x + 2"), lib="class A:\n    def m(self, x):\n        return x + 1\n")
local("base class in a module imported in the body", "from lib import A", "A().m(x)", ("x + 1", "x + 2"), lib="class B:\n    def m(self, x):\n        return x + 1\nclass A(B):\n    pass\n")
local("statement with effect in a module imported in the body", "import lib", "lib.T['a'](x)", ("x + 1", "x + 2"), lib="T = {}\ndef reg(fn):\n    T['a'] = fn\n    return fn\n@reg\ndef a(x):\n    return x + 1\n")
local("list filled at import, imported in the body", "from lib import L", "L + [x]", ("append(2)", "append(3)"), lib="L = [1]\nL.append(2)\n")
local("conditional in a module imported in the body", "from lib import K", "K + x", ("K = 2", "K = 3"), lib="import sys\nif sys.maxsize > 0:\n    K = 2\nelse:\n    K = 0\n")
local("module used whole in the body", "import lib", "getattr(lib, 'h' + '')(x)", ("x + 1", "x + 2"))
local("import in a nested function", "def g():\n        from lib import h\n        return h(x)", "g()", ("x + 1", "x + 2"))
local("import in a branch", "if x:\n        from lib import h\n    else:\n        h = None", "h(x)", ("x + 1", "x + 2"))
local("import in try", "try:\n        from lib import h\n    except ImportError:\n        h = abs", "h(x)", ("x + 1", "x + 2"))
local("two imports of one name", "try:\n        import nothing as m\n    except ImportError:\n        import lib as m", "m.h(x)", ("x + 1", "x + 2"))
local("star in a library imported in the body", "from lib import h", "h(x)", "## app.py\ndef f(x):\n    from lib import h\n    return h(x)\n## lib.py\nfrom low import *\n## low.py\ndef h(x):\n    return x + 2\n", lib="from low import *\n## low.py\ndef h(x):\n    return x + 1\n")
local("lazily imported constant computed", "from lib import K", "K + x", ("range(3)", "range(4)"), lib="K = sum(range(3))\n")

PKG = """
## app.py
def f(x):
    from pkg.sub import mod
    import pkg.cfg
    return mod.h(x) + pkg.cfg.K
## pkg/__init__.py
LEVEL = 1
## pkg/cfg.py
K = 1
## pkg/sub/__init__.py
## pkg/sub/mod.py
from ..low import low
def h(x):
    return low(x)
## pkg/low.py
from . import cfg
def low(x):
    return x + cfg.K
"""
miss("package imported in the body", PKG, ("x + cfg.K", "x - cfg.K"))
miss("submodule value imported in the body", PKG, ("K = 1", "K = 2"))
hit("package constant not used", PKG, ("LEVEL = 1", "LEVEL = 2"))
miss("effect in a parent package", PKG.replace("LEVEL = 1", "from . import cfg\ncfg.K += 1"), ("cfg.K += 1", "cfg.K += 2"))
miss("relative import in the body", "## app.py\nfrom pkg.a import g as f\n## pkg/__init__.py\n## pkg/a.py\ndef g(x):\n    from .b import h\n    return h(x)\n## pkg/b.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("relative module in the body", "## app.py\nfrom pkg.a import g as f\n## pkg/__init__.py\n## pkg/a.py\ndef g(x):\n    from . import b\n    return b.h(x)\n## pkg/b.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("namespace package in the body", "## app.py\ndef f(x):\n    from space.a import h\n    return h(x)\n## space/a.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))

MODULE = "\n## lib.py\nJ = 1\ndef h(x):\n    return x + 1\ndef g(x):\n    return x\n"
miss("import_module with a constant", "## app.py\nimport importlib\ndef f(x):\n    return importlib.import_module('lib').h(x)" + MODULE, ("x + 1", "x + 2"))
miss("import_module imported", "## app.py\nfrom importlib import import_module\ndef f(x):\n    m = import_module('lib')\n    return m.h(x)" + MODULE, ("x + 1", "x + 2"))
miss("__import__", "## app.py\ndef f(x):\n    return __import__('lib').h(x)" + MODULE, ("x + 1", "x + 2"))
miss("import_module of a package's part", "## app.py\nimport importlib\ndef f(x):\n    return importlib.import_module(f'plugins.p{x}').h(x)\n## plugins/__init__.py\n## plugins/p3.py\ndef h(x):\n    return x + 1", ("x + 1", "x + 2"))
miss("getattr on a module", "## app.py\nimport lib\ndef f(x):\n    return getattr(lib, 'hg'[0])(x)" + MODULE, ("x + 1", "x + 2"))
miss("getattr with a constant", "## app.py\nimport lib\ndef f(x):\n    return getattr(lib, 'h')(x)" + MODULE, ("x + 1", "x + 2"))
hit("getattr with a constant, other", "## app.py\nimport lib\ndef f(x):\n    return getattr(lib, 'h')(x)" + MODULE, ("return x\n", "return -x\n"))
miss("module's dict", "## app.py\nimport lib\ndef f(x):\n    return lib.__dict__['h'](x)" + MODULE, ("x + 1", "x + 2"))
miss("vars of a module", "## app.py\nimport lib\ndef f(x):\n    return vars(lib)['h'](x)" + MODULE, ("x + 1", "x + 2"))
miss("sys.modules", "## app.py\nimport sys\ndef h(x):\n    return x + 1\ndef f(x):\n    return sys.modules[__name__].h(x)", ("x + 1", "x + 2"))
miss("globals()", "def h(x):\n    return x + 1\ndef f(x):\n    return globals()['h'](x)", ("x + 1", "x + 2"))
miss("globals() by a made name", "def go_3(x):\n    return x + 1\ndef f(x):\n    return globals()[f'go_{x}'](x)", ("x + 1", "x + 2"))
miss("eval constant", "def h(x):\n    return x + 1\ndef f(x):\n    return eval('h(x)')", ("x + 1", "x + 2"))
hit("eval constant, other function", "def h(x):\n    return x + 1\ndef g(x):\n    return x\ndef f(x):\n    return eval('h(x)')", ("return x\n", "return -x\n"))
miss("eval of made text", "def h(x):\n    return x + 1\ndef f(x):\n    return eval('h' + '(x)')", ("x + 1", "x + 2"))
miss("exec", "def h(x):\n    return x + 1\ndef f(x):\n    d = {}\n    exec('r = h(3)', globals(), d)\n    return d['r']", ("x + 1", "x + 2"))
miss("module __getattr__", "## app.py\nimport lib\ndef f(x):\n    return lib.anything + x\n## lib.py\ndef __getattr__(name):\n    if name.startswith('__'):\n        raise AttributeError(name)\n    return 1", ("return 1", "return 2"))
miss("module passed on", "## app.py\nimport lib\ndef g(m, x):\n    return m.h(x)\ndef f(x):\n    return g(lib, x)" + MODULE, ("x + 1", "x + 2"))
miss("operator.methodcaller", "import operator\nclass A:\n    def m(self):\n        return 1\ngo = operator.methodcaller('m')\ndef f(x):\n    return go(A()) + x", ("return 1", "return 2"))

miss("docstring of a helper read", "def h():\n    'old'\ndef f(x):\n    return h.__doc__ * x", ("'old'", "'new'"))
miss("own docstring read", "def f(x):\n    'old'\n    return f.__doc__", ("'old'", "'new'"))
miss("docstring read by inspect", "import inspect\ndef h():\n    'old'\ndef f(x):\n    return inspect.getdoc(h)", ("'old'", "'new'"))
miss("module docstring read", "'old'\ndef f(x):\n    return __doc__", ("'old'", "'new'"))
miss("annotations read", "def h(a: int): ...\ndef f(x):\n    return str(h.__annotations__)", ("a: int", "a: float"))
miss("type hints read", "import typing\ndef h(a: int): ...\ndef f(x):\n    return str(typing.get_type_hints(h))", ("a: int", "a: float"))
miss("signature read", "import inspect\ndef h(a: int): ...\ndef f(x):\n    return str(inspect.signature(h))", ("a: int", "a: float"))
miss("source read", "import inspect\ndef h():\n    return 1  # old\ndef f(x):\n    return inspect.getsource(h)", ("# old", "# new"))
miss("name of a helper read", "def h(): ...\ndef f(x):\n    return h.__name__", ("h()", "g()"), ("h.__name__", "g.__name__"))
miss("name read in a decorator", "def deco(fn):\n    def inner(x):\n        return fn.__name__ * x\n    return inner\n@deco\ndef h(x): ...\ndef f(x):\n    return h(x)", ("h(x)", "g(x)"))
miss("fields listed", "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: int = 1\ndef f(x):\n    return [n.name for n in dataclasses.fields(P)]", ("a: int", "b: int"))
miss("order of a class's names", "class P:\n    a = 1\n    b = 2\ndef f(x):\n    return [k for k in vars(P) if len(k) == 1]", ("    a = 1\n    b = 2\n", "    b = 2\n    a = 1\n"))
hit("hint nobody reads", "def h(a: int):\n    return a\ndef f(x):\n    return h(x)", ("a: int", "a: float"))

THIRD = """
## app.py
import tool
def f(x):
    return tool.h(x)
## site-packages/tool.py
def h(x):
    return x
## site-packages/tool-1.0.dist-info/METADATA
Metadata-Version: 2.1
Name: tool
Version: 1.0
## site-packages/tool-1.0.dist-info/RECORD
tool.py,,
tool-1.0.dist-info/METADATA,,
"""
UPGRADED = THIRD.replace("tool-1.0", "tool-1.1").replace("Version: 1.0", "Version: 1.1")
miss("version of a package", THIRD, UPGRADED)
miss("version of a package imported in the body", THIRD.replace("import tool\ndef f(x):\n", "def f(x):\n    import tool\n"), UPGRADED.replace("import tool\ndef f(x):\n", "def f(x):\n    import tool\n"))
miss("version of a package behind a from-import", THIRD.replace("import tool\n", "from tool import h\n").replace("tool.h(x)", "h(x)"), UPGRADED.replace("import tool\n", "from tool import h\n").replace("tool.h(x)", "h(x)"))
hit("version of a package not used", THIRD.replace("return tool.h(x)", "return x"), UPGRADED.replace("return tool.h(x)", "return x"))
miss("library wrapper around a project function", "## app.py\nimport tool\n@tool.twice\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)\n## site-packages/tool.py\ndef twice(fn):\n    def inner(x):\n        return fn(fn(x))\n    return inner\n", ("x + 1", "x + 2"))
miss("library wrapper's option", "## app.py\nimport tool\n@tool.times(2)\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)\n## site-packages/tool.py\ndef times(n):\n    def deco(fn):\n        def inner(x):\n            return fn(x) * n\n        return inner\n    return deco\n", ("times(2)", "times(3)"))
