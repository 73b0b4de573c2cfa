"""Classes whose meaning a framework makes: dataclasses, enums, named tuples, attrs, pydantic; and library objects."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

DATA = """
from dataclasses import dataclass, field
def make():
    return [1]
@dataclass
class P:
    a: int
    b: int = 2
    c: list = field(default_factory=make, repr=True)
    def total(self):
        return self.a + self.b + len(self.c)
def f(x):
    p = P(x)
    return [repr(p), p.total(), p == P(x)]
"""
miss("dataclass default", DATA, ("b: int = 2", "b: int = 3"))
miss("dataclass factory", DATA, ("[1]", "[1, 2]"))
miss("dataclass method", DATA, ("self.a + self.b", "self.a - self.b"))
miss("dataclass field added", DATA, ("b: int = 2", "b: int = 2\n    d: int = 1"))
miss("dataclass field order", DATA, ("    b: int = 2\n    c: list = field(default_factory=make, repr=True)\n", "    c: list = field(default_factory=make, repr=True)\n    b: int = 2\n"))
miss("dataclass field renamed", DATA, ("b: int", "bb: int"), ("self.b", "self.bb"))
miss("dataclass repr off", DATA, ("repr=True", "repr=False"))
miss("dataclass eq off", DATA, ("@dataclass\n", "@dataclass(eq=False)\n"))
miss("dataclass frozen", DATA, ("@dataclass\n", "@dataclass(frozen=True)\n"), opaque_result=True)
miss("dataclass renamed", DATA, ("class P", "class Q"), ("P(x)", "Q(x)"))
hit("dataclass docstring", DATA, ("class P:", "class P:\n    'doc'"))
hit("dataclass untouched", DATA, ("def f(x):", "# c\ndef f(x):"))
miss("dataclass hint", DATA, ("a: int", "a: float"))
miss("dataclass base", "from dataclasses import dataclass\n@dataclass\nclass B:\n    a: int = 1\n@dataclass\nclass P(B):\n    b: int = 2\ndef f(x):\n    return repr(P())", ("a: int = 1", "a: int = 5"))
miss("dataclass post init", "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    def __post_init__(self):\n        self.a += 1\ndef f(x):\n    return P(x).a", ("+= 1", "+= 2"))
miss("dataclass instance as a global", "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\np = P(1)\ndef f(x):\n    return p.a + x", ("P(1)", "P(2)"))
miss("dataclass own repr", "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    def __repr__(self):\n        return 'a'\ndef f(x):\n    return repr(P(x))", ("'a'", "'b'"))
miss("dataclass slots", "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\ndef f(x):\n    return hasattr(P(x), '__dict__')", ("@dataclass", "@dataclass(slots=True)"))

ENUM = """
import enum
class Color(enum.Enum):
    RED = 1
    BLUE = 2
    def next(self):
        return self.value + 1
def f(x):
    return [Color.RED.next(), [c.name for c in Color]]
"""
miss("enum value", ENUM, ("RED = 1", "RED = 5"))
miss("enum member added", ENUM, ("BLUE = 2", "BLUE = 2\n    GREEN = 3"))
miss("enum order", ENUM, ("    RED = 1\n    BLUE = 2\n", "    BLUE = 2\n    RED = 1\n"))
miss("enum method", ENUM, ("self.value + 1", "self.value + 2"))
miss("enum kind", ENUM, ("enum.Enum", "enum.IntEnum"), opaque_result=True)
hit("enum untouched", ENUM, ("def f", "# c\ndef f"))
miss("enum auto", "import enum\nclass C(enum.Enum):\n    A = enum.auto()\n    B = enum.auto()\ndef f(x):\n    return C.B.value", ("    A = enum.auto()\n", ""))
miss("flag", "import enum\nclass C(enum.Flag):\n    A = 1\n    B = 2\ndef f(x):\n    return (C.A | C.B).value", ("B = 2", "B = 4"))
miss("enum member as a global", "import enum\nclass C(enum.Enum):\n    A = 1\n    B = 2\nK = C.A\ndef f(x):\n    return K.value", ("K = C.A", "K = C.B"))
miss("enum with its own new", "import enum\nclass C(enum.Enum):\n    def __new__(cls, v):\n        o = object.__new__(cls)\n        o._value_ = v + 1\n        return o\n    A = 1\ndef f(x):\n    return C.A.value", ("v + 1", "v + 2"))
miss("enum with attributes", "import enum\nclass C(enum.Enum):\n    A = (1, 2)\n    def __init__(self, a, b):\n        self.b = b\ndef f(x):\n    return C.A.b", ("(1, 2)", "(1, 3)"))

TUPLE = "from typing import NamedTuple\nclass P(NamedTuple):\n    a: int\n    b: int = 2\n    def s(self):\n        return self.a + self.b\ndef f(x):\n    return [repr(P(x)), P(x).s()]"
miss("named tuple default", TUPLE, ("b: int = 2", "b: int = 3"))
miss("named tuple method", TUPLE, ("self.a + self.b", "self.a - self.b"))
miss("named tuple field", TUPLE, ("b: int", "c: int"), ("self.b", "self.c"))
hit("named tuple untouched", TUPLE, ("def f", "# c\ndef f"))
miss("collections.namedtuple", "from collections import namedtuple\nP = namedtuple('P', 'a b')\ndef f(x):\n    return repr(P(x, 1))", ("'a b'", "'a c'"))
miss("namedtuple as a global", "from collections import namedtuple\nP = namedtuple('P', 'a b')\np = P(1, 2)\ndef f(x):\n    return p.b + x", ("P(1, 2)", "P(1, 3)"))
miss("typed dict keys", "from typing import TypedDict\nclass D(TypedDict):\n    a: int\ndef f(x):\n    return sorted(D.__required_keys__)", ("a: int", "b: int"))

ATTRS = """
import attrs
def positive(inst, attribute, value):
    if value < 0:
        raise ValueError("low")
@attrs.define
class P:
    a: int = attrs.field(validator=positive, converter=int)
    b: int = 2
    c: list = attrs.field(factory=list)
    def total(self):
        return self.a + self.b
def f(x):
    return [repr(P(x)), P(x).total()]
"""
miss("attrs default", ATTRS, ("b: int = 2", "b: int = 3"), needs="attrs")
miss("attrs validator", ATTRS, ("value < 0", "value > 0"), needs="attrs")
miss("attrs converter", ATTRS, ("converter=int", "converter=float"), needs="attrs")
miss("attrs method", ATTRS, ("self.a + self.b", "self.a - self.b"), needs="attrs")
miss("attrs factory", ATTRS, ("factory=list", "factory=dict"), needs="attrs")
hit("attrs untouched", ATTRS, ("def f", "# c\ndef f"), needs="attrs")
hit("attrs comment", ATTRS, ("    b: int = 2", "    # second\n    b: int = 2"), needs="attrs")

PYDANTIC = """
from pydantic import BaseModel, Field, field_validator
class Inner(BaseModel):
    v: int = 1
class P(BaseModel):
    a: int
    b: int = Field(2, gt=0)
    inner: Inner = Inner()
    @field_validator("a")
    @classmethod
    def check(cls, v):
        return v + 1
    def total(self):
        return self.a + self.b + self.inner.v
def f(x):
    return [repr(P(a=x)), P(a=x).total()]
"""
miss("pydantic default", PYDANTIC, ("Field(2, gt=0)", "Field(3, gt=0)"), needs="pydantic")
miss("pydantic constraint", PYDANTIC, ("gt=0", "gt=1"), needs="pydantic")
miss("pydantic type", PYDANTIC, ("a: int", "a: float"), needs="pydantic")
miss("pydantic validator", PYDANTIC, ("v + 1", "v + 2"), needs="pydantic")
miss("pydantic validator mode", PYDANTIC, ('@field_validator("a")', '@field_validator("a", mode="before")'), needs="pydantic")
miss("pydantic inner model", PYDANTIC, ("v: int = 1", "v: int = 4"), needs="pydantic")
miss("pydantic method", PYDANTIC, ("self.a + self.b", "self.a - self.b"), needs="pydantic")
miss("pydantic config", PYDANTIC, ("    a: int\n", "    model_config = {'frozen': True}\n    a: int\n"), needs="pydantic")
hit("pydantic untouched", PYDANTIC, ("def f", "# c\ndef f"), needs="pydantic")
hit("pydantic comment", PYDANTIC, ("    a: int", "    # first\n    a: int"), needs="pydantic")
miss("pydantic hint of a called function", "from pydantic import validate_call\n@validate_call\ndef h(v: int):\n    return v\ndef f(x):\n    return h(str(x))", ("v: int", "v: str"), needs="pydantic")
miss("pydantic instance as a global", "from pydantic import BaseModel\nclass P(BaseModel):\n    a: int\np = P(a=1)\ndef f(x):\n    return p.a + x", ("a=1", "a=2"), needs="pydantic")
miss("vectorised function", "import numpy as np\n@np.vectorize\ndef h(v):\n    return v + 1\ndef f(x):\n    return h([x]).tolist()", ("v + 1", "v + 2"), needs="numpy")
miss("ufunc for another", "import numpy as np\nfrom numpy import add as op\ndef f(x):\n    return int(op(x, 2))", ("import add", "import multiply"), needs="numpy")
hit("ufunc otherwise imported", "import numpy as np\ndef f(x):\n    return int(np.add(x, 2))", ("import numpy as np", "import numpy"), ("np.add", "numpy.add"), needs="numpy")
miss("library function for another", "import math\ndef f(x):\n    return math.floor(x + 0.5)", ("floor", "ceil"))
miss("query with a global", "import pandas as pd\nLIMIT = 1\ndef f(x):\n    return len(pd.DataFrame({'a': [1, 2, x]}).query('a > @LIMIT'))", ("LIMIT = 1", "LIMIT = 2"), needs="pandas")
miss("query with a local", "import pandas as pd\ndef f(x):\n    low = 1\n    high = 2\n    return len(pd.DataFrame({'a': [1, 2, x]}).query('a > @low'))", ("@low", "@high"), needs="pandas")
miss("agg with a named function", "import pandas as pd\ndef spread(s):\n    return s.max() - s.min()\ndef f(x):\n    return pd.DataFrame({'a': [1, x]}).agg([spread]).index.tolist()", ("spread", "width"), needs="pandas")
