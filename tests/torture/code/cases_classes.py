"""Classes: methods, hierarchies over modules, descriptors, protocols, and what decorates functions."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

TREE = """
## app.py
from shapes import Square
def f(x):
    return Square(x).area()
## shapes.py
from base import Shape, Loud
class Square(Loud, Shape):
    scale = 1
    def size(self):
        return self.n * self.scale
## base.py
class Shape:
    def __init__(self, n):
        self.n = n
    def area(self):
        return self.size() ** self.power()
    def power(self):
        return 2
class Loud:
    def power(self):
        return super().power()
class Unrelated:
    def go(self):
        return 1
"""
miss("method", TREE, ("self.n * self.scale", "self.n + self.scale"))
miss("method of a base in another module", TREE, ("return 2", "return 3"))
miss("mixin", TREE, ("return super().power()", "return super().power() + 1"))
miss("class attribute", TREE, ("scale = 1", "scale = 2"))
miss("class attribute type", TREE, ("scale = 1", "scale = 1.0"))
miss("order of bases", TREE, ("(Loud, Shape)", "(Shape, Loud)"), opaque_result=True)
hit("unrelated class", TREE, ("return 1", "return 5"))
miss("method added that overrides", TREE, ("scale = 1", "scale = 1\n    def power(self):\n        return 1"))
miss("initialiser", TREE, ("self.n = n", "self.n = n + 1"))
hit("class moved", TREE, "## app.py\nfrom elsewhere import Square\ndef f(x):\n    return Square(x).area()\n## elsewhere.py\nfrom base import Shape, Loud\nclass Square(Loud, Shape):\n    scale = 1\n    def size(self):\n        return self.n * self.scale\n## base.py\nclass Shape:\n    def __init__(self, n):\n        self.n = n\n    def area(self):\n        return self.size() ** self.power()\n    def power(self):\n        return 2\nclass Loud:\n    def power(self):\n        return super().power()\n")


def member(name, text, *edits, use="A().m(x)", expect=miss, **options):
    """A class `A` used by `f`."""
    indented = "\n".join("    " + line for line in text.splitlines())
    expect(name, f"import functools\nclass A:\n    k = 1\n{indented}\ndef f(x):\n    return {use}\n", *edits, **options)


member("static method", "@staticmethod\ndef m(x):\n    return x + 1", ("x + 1", "x + 2"))
member("class method", "@classmethod\ndef m(cls, x):\n    return x + cls.k", ("x + cls.k", "x - cls.k"))
member("class method through the class", "@classmethod\ndef m(cls, x):\n    return x + cls.k", ("k = 1", "k = 2"), use="A.m(x)")
member("property", "@property\ndef p(self):\n    return 1", ("return 1", "return 2"), use="A().p + x")
member("property setter", "@property\ndef p(self):\n    return self._p\n@p.setter\ndef p(self, v):\n    self._p = v", ("self._p = v", "self._p = v + 1"), use="[a := A(), setattr(a, 'p', x), a.p][2]")
member("cached property", "@functools.cached_property\ndef p(self):\n    return 1", ("return 1", "return 2"), use="A().p + x")
member("partial method", "def go(self, k, x):\n    return k + x\nm = functools.partialmethod(go, 1)", ("(go, 1)", "(go, 2)"))
member("dunder call", "def __call__(self, x):\n    return x + 1", ("x + 1", "x + 2"), use="A()(x)")
member("dunder getattr", "def __getattr__(self, name):\n    return len(name)", ("len(name)", "-len(name)"), use="A().anything + x")
member("dunder getattribute", "def __getattribute__(self, name):\n    return 7", ("return 7", "return 8"), use="A().z + x")
member("dunder add", "def __add__(self, o):\n    return o + 1", ("o + 1", "o + 2"), use="A() + x")
member("dunder len", "def __len__(self):\n    return 1", ("return 1", "return 2"), use="len(A()) + x")
member("dunder iter", "def __iter__(self):\n    yield 1", ("yield 1", "yield 2"), use="list(A())")
member("dunder eq", "def __eq__(self, o):\n    return True", ("return True", "return False"), use="A() == x")
member("dunder new", "def __new__(cls):\n    o = super().__new__(cls)\n    o.k = 2\n    return o", ("o.k = 2", "o.k = 3"), use="A().k + x")
member("dunder enter", "def __enter__(self):\n    return 1\ndef __exit__(self, *a):\n    return None", ("return 1", "return 2"), use="(lambda a: a.__enter__())(A()) + x")
member("private name", "def __secret(self):\n    return 1\ndef m(self, x):\n    return self.__secret() + x", ("return 1", "return 2"))
member("method by name", "def go(self):\n    return 1\ndef m(self, x):\n    return getattr(self, 'g' + 'o')() + x", ("return 1", "return 2"))
member("class attribute function", "fn = len\ndef m(self, x):\n    return type(self).fn([x])", ("fn = len", "fn = sum"))
member("class attribute list", "items = [1]\ndef m(self, x):\n    return x + sum(self.items)", ("[1]", "[2]"))
member("name mangled global", "def m(self, x):\n    return x + self.k", ("import functools", "import functools  # c"), expect=hit)
member("method of another class attribute", "class In:\n    def g(self):\n        return 1\ndef m(self, x):\n    return self.In().g() + x", ("return 1", "return 2"))
member("slots", "__slots__ = ('a',)\ndef m(self, x):\n    return len(self.__slots__) + x", ("('a',)", "('a', 'b')"))
member("annotations read at run time", "n: int\ndef m(self, x):\n    return str(type(self).__annotations__) * x", ("n: int", "n: float"))
miss("class docstring read", "class A:\n    'old'\n    def m(self):\n        return self.__doc__\ndef f(x):\n    return A().m()", ("'old'", "'new'"))
member("class name shows", "def m(self, x):\n    return type(self).__name__", ("class A", "class B"), ("A()", "B()"))

miss("metaclass", "class M(type):\n    def __call__(cls, *a):\n        return 1\nclass A(metaclass=M):\n    pass\ndef f(x):\n    return A() + x", ("return 1", "return 2"))
miss("metaclass attribute", "class M(type):\n    k = 1\nclass A(metaclass=M):\n    pass\ndef f(x):\n    return A.k + x", ("k = 1", "k = 2"))
miss("init subclass", "class B:\n    def __init_subclass__(cls, n=1):\n        cls.n = n\nclass A(B, n=2):\n    pass\ndef f(x):\n    return A.n + x", ("n=2", "n=3"))
miss("subclass registry", "class B:\n    all = []\n    def __init_subclass__(cls):\n        B.all.append(cls)\nclass A(B):\n    def m(self):\n        return 1\ndef f(x):\n    return B.all[0]().m() + x", ("return 1", "return 2"))
miss("__subclasses__", "class B:\n    pass\nclass A(B):\n    def m(self):\n        return 1\ndef f(x):\n    return B.__subclasses__()[0]().m() + x", ("return 1", "return 2"))
miss("class decorator", "def deco(cls):\n    cls.k = 2\n    return cls\n@deco\nclass A:\n    k = 1\ndef f(x):\n    return A.k + x", ("cls.k = 2", "cls.k = 3"))
miss("descriptor", "class D:\n    def __get__(self, o, t=None):\n        return 1\nclass A:\n    d = D()\ndef f(x):\n    return A().d + x", ("return 1", "return 2"))
miss("descriptor state", "class D:\n    def __init__(self, k):\n        self.k = k\n    def __get__(self, o, t=None):\n        return self.k\nclass A:\n    d = D(1)\ndef f(x):\n    return A().d + x", ("D(1)", "D(2)"))
miss("attribute set after the class", "class A:\n    k = 1\nA.k = 2\ndef f(x):\n    return A.k + x", ("A.k = 2", "A.k = 3"))
miss("method patched after the class", "class A:\n    def m(self):\n        return 1\nA.m = lambda self: 2\ndef f(x):\n    return A().m() + x", ("self: 2", "self: 3"))
miss("method as a bare function", "class A:\n    def m(self, x):\n        return x + 1\nm = A.m\ndef f(x):\n    return m(None, x)", ("x + 1", "x + 2"))
miss("super in a bare method", "class B:\n    def m(self, x):\n        return x + 1\nclass A(B):\n    def m(self, x):\n        return super().m(x)\ngo = A().m\ndef f(x):\n    return go(x)", ("x + 1", "x + 2"))
miss("exception class", "class E(Exception):\n    def __str__(self):\n        return 'a'\ndef f(x):\n    try:\n        raise E\n    except E as e:\n        return str(e)", ("'a'", "'b'"))
miss("abstract base", "import abc\nclass B(abc.ABC):\n    @abc.abstractmethod\n    def m(self): ...\n    def go(self, x):\n        return self.m() + x\nclass A(B):\n    def m(self):\n        return 1\ndef f(x):\n    return A().go(x)", ("self.m() + x", "self.m() - x"))
miss("runtime protocol", "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n    def go(self): ...\nclass A:\n    def go(self):\n        return 1\ndef f(x):\n    return isinstance(A(), P)", ("class P(Protocol):\n    def go(self)", "class P(Protocol):\n    def run(self)"))
miss("generic class", "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass Box(Generic[T]):\n    def m(self, x):\n        return x + 1\ndef f(x):\n    return Box[int]().m(x)", ("x + 1", "x + 2"))
miss("new generic class", "class Box[T]:\n    def m(self, x):\n        return x + 1\ndef f(x):\n    return Box[int]().m(x)", ("x + 1", "x + 2"), minimum=(3, 12))
miss("generic alias as a global", "V = list[int]\ndef f(x):\n    return str(V)", ("list[int]", "list[str]"))
miss("class made by type()", "A = type('A', (), {'m': lambda self, x: x + 1})\ndef f(x):\n    return A().m(x)", ("x + 1", "x + 2"))
miss("nested class used outside", "class A:\n    class B:\n        k = 1\ndef f(x):\n    return A.B.k + x", ("k = 1", "k = 2"))
miss("user dict subclass", "class D(dict):\n    def __missing__(self, k):\n        return 1\nd = D()\ndef f(x):\n    return d[x]", ("return 1", "return 2"))
miss("total ordering", "import functools\n@functools.total_ordering\nclass A:\n    def __init__(self, v):\n        self.v = v\n    def __eq__(self, o):\n        return self.v == o.v\n    def __lt__(self, o):\n        return self.v < o.v\ndef f(x):\n    return A(1) >= A(x)", ("self.v < o.v", "self.v > o.v"))
miss("method as an argument's class", "class A:\n    def m(self):\n        return 1\ndef f(a):\n    return a.m()", ("return 1", "return 2"), call="f(A())")
miss("state of an argument's class attribute", "class A:\n    k = 1\ndef f(a):\n    return a.k", ("k = 1", "k = 2"), call="f(A())")
miss("function as an argument", "def h(x):\n    return x + 1\ndef f(fn):\n    return fn(1)", ("x + 1", "x + 2"), call="f(h)")
hit("function as an argument, untouched", "def h(x):\n    return x + 1\ndef f(fn):\n    return fn(1)", ("def f", "# c\ndef f"), call="f(h)")
miss("helper of a function argument", "def low(x):\n    return x + 1\ndef h(x):\n    return low(x)\ndef f(fn):\n    return fn(1)", ("x + 1", "x + 2"), call="f(h)")
miss("lambda as an argument", "def f(fn):\n    return fn(1)\ng = lambda x: x + 1", ("x + 1", "x + 2"), call="f(g)")

DECO = """
import functools
def deco(n):
    def outer(fn):
        @functools.wraps(fn)
        def inner(*a):
            return fn(*a) * n
        return inner
    return outer
@deco(2)
def h(x):
    return x + 1
def f(x):
    return h(x)
"""
miss("decorator argument", DECO, ("@deco(2)", "@deco(3)"))
miss("decorated function", DECO, ("x + 1", "x + 2"))
miss("decorator body", DECO, ("fn(*a) * n", "fn(*a) + n"))
miss("decorator removed", DECO, ("@deco(2)\n", ""))
miss("decorator repeated", DECO, ("@deco(2)\n", "@deco(2)\n@deco(1)\n"))
hit("decorator renamed", DECO, ("deco", "multiplied"))
hit("decorated function's docstring", DECO, ("    return x + 1", "    'doc'\n    return x + 1"))
miss("decorator of the entry", DECO.replace("def f(x):\n    return h(x)\n", "@deco(5)\ndef f(x):\n    return x\n"), ("@deco(5)", "@deco(6)"))
miss("decorator without wraps", "def deco(fn):\n    def inner(x):\n        return fn(x) * 2\n    return inner\n@deco\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
miss("decorator in another module", "## app.py\nfrom d import deco\n@deco\ndef h(x):\n    return x\ndef f(x):\n    return h(x)\n## d.py\ndef deco(fn):\n    def inner(x):\n        return fn(x) * 2\n    return inner", ("* 2", "* 3"))
miss("class as a decorator", "class Deco:\n    def __init__(self, fn):\n        self.fn = fn\n    def __call__(self, x):\n        return self.fn(x) * 2\n@Deco\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
miss("decorator with state", "class Deco:\n    def __init__(self, k):\n        self.k = k\n    def __call__(self, fn):\n        return lambda x: fn(x) * self.k\n@Deco(2)\ndef h(x):\n    return x\ndef f(x):\n    return h(x)", ("Deco(2)", "Deco(3)"))
miss("stacked decorators swapped", "def a(fn):\n    return lambda x: fn(x) + 1\ndef b(fn):\n    return lambda x: fn(x) * 2\n@a\n@b\ndef h(x):\n    return x\ndef f(x):\n    return h(x)", ("@a\n@b", "@b\n@a"))
miss("lru_cache", "import functools\n@functools.lru_cache\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
hit("lru_cache size", "import functools\n@functools.lru_cache(maxsize=8)\ndef h(x):\n    return x + 1\ndef f(x):\n    return h(x)", ("maxsize=8", "maxsize=9"))
miss("functools.cache below", "import functools\ndef low(x):\n    return x + 1\n@functools.cache\ndef h(x):\n    return low(x)\ndef f(x):\n    return h(x)", ("x + 1", "x + 2"))
miss("partial argument", "import functools\ndef h(a, x):\n    return a + x\ng = functools.partial(h, 1)\ndef f(x):\n    return g(x)", ("(h, 1)", "(h, 2)"))
miss("partial keyword", "import functools\ndef h(x, a=0):\n    return a + x\ng = functools.partial(h, a=1)\ndef f(x):\n    return g(x)", ("a=1)", "a=2)"))
miss("partial's function", "import functools\ndef h(a, x):\n    return a + x\ng = functools.partial(h, 1)\ndef f(x):\n    return g(x)", ("a + x", "a - x"))
miss("partial of a lambda", "import functools\ng = functools.partial(lambda a, x: a + x, 1)\ndef f(x):\n    return g(x)", ("a + x", "a - x"))
DISPATCH = """
import functools
@functools.singledispatch
def h(x):
    return 0
@h.register(int)
def _(x):
    return x + 1
@h.register(str)
def _(x):
    return "s"
def f(x):
    return h(x)
"""
miss("singledispatch implementation", DISPATCH, ("x + 1", "x + 2"))
miss("singledispatch default", DISPATCH, ("return 0", "return 1"))
miss("singledispatch registration added", DISPATCH, ("def f(x)", "@h.register(bool)\ndef _(x):\n    return 9\ndef f(x)"))
hit("singledispatch registrations reordered", DISPATCH, "import functools\n@functools.singledispatch\ndef h(x):\n    return 0\n@h.register(str)\ndef _(x):\n    return \"s\"\n@h.register(int)\ndef _(x):\n    return x + 1\ndef f(x):\n    return h(x)\n")
miss("singledispatch by hint", DISPATCH.replace("@h.register(int)\ndef _(x):", "@h.register\ndef _(x: int):"), ("x: int", "x: float"))
miss("singledispatch method", "import functools\nclass A:\n    @functools.singledispatchmethod\n    def m(self, x):\n        return 0\n    @m.register\n    def _(self, x: int):\n        return x + 1\ndef f(x):\n    return A().m(x)", ("x + 1", "x + 2"))
