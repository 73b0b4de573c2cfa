"""Edits of the body that can change the result."""

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss


def body(name, old, new, expect=miss, **options):
    """A function with the body `old`, edited to `new`."""
    indented = "\n".join("    " + line for line in old.splitlines())
    after = "\n".join("    " + line for line in new.splitlines())
    expect(name, f"def f(x):\n{indented}\n", f"def f(x):\n{after}\n", **options)


body("operator", "return x + 1", "return x - 1")
body("constant", "return x + 1", "return x + 2")
body("int to float", "return x * 1", "return x * 1.0")
body("int to bool", "return [x, 1]", "return [x, True]")
body("int to text", "return [x, 1]", "return [x, '1']")
body("text to bytes", "return [x, 'a']", "return [x, b'a']")
body("zero to minus zero", "return [x, 0.0]", "return [x, -0.0]")
body("none to false", "return [x, None]", "return [x, False]")
body("tuple to list", "return (x, 1)", "return [x, 1]")
body("list to set", "return {x}", "return [x]")
body("strings split otherwise", "return ('ab', 'c', x)", "return ('a', 'bc', x)")
body("empty string added", "return ('a', x)", "return ('a', '', x)")
body("attribute name", "return 'Ab'.lower() * x", "return 'Ab'.upper() * x")
body("keyword name", "return dict(a=x)", "return dict(b=x)")
body("keyword value", "return sorted([1, x], reverse=True)", "return sorted([1, x], reverse=False)")
body("compare", "return x < 3", "return x <= 3")
body("boolean", "return x and 0", "return x or 0")
body("is for equals", "return x is None", "return x == None")
body("not in", "return x in [3]", "return x not in [3]")
body("order of statements", "y = x\ny += 1\ny *= 2\nreturn y", "y = x\ny *= 2\ny += 1\nreturn y")
body("swapped locals", "a = x\nb = 2 * x\nreturn a - b", "a = x\nb = 2 * x\nreturn b - a")
body("shadowing local", "y = x\nz = 1\nreturn y", "y = x\nz = 1\nreturn z")
body("augmented", "y = x\ny += 2\nreturn y", "y = x\ny -= 2\nreturn y")
body("slice", "return list(range(x))[1:]", "return list(range(x))[:1]")
body("slice step", "return list(range(9))[::x]", "return list(range(9))[:x:]")
body("lambda body", "return (lambda v: v + 1)(x)", "return (lambda v: v + 2)(x)")
body("lambda default", "return (lambda v, w=1: v + w)(x)", "return (lambda v, w=2: v + w)(x)")
body("nested function body", "def g(y):\n    return y + 1\nreturn g(x)", "def g(y):\n    return y + 2\nreturn g(x)")
body("nested default", "def g(y, k=1):\n    return y + k\nreturn g(x)", "def g(y, k=2):\n    return y + k\nreturn g(x)")
body("comprehension element", "return [i for i in range(x)]", "return [i + 1 for i in range(x)]")
body("comprehension condition", "return [i for i in range(x) if i]", "return [i for i in range(x) if not i]")
body("comprehension kind", "return [i for i in range(x)]", "return {i for i in range(x)}")
body("nested comprehension order", "return [(i, j) for i in range(x) for j in range(2)]", "return [(i, j) for j in range(x) for i in range(2)]")  # fmt: skip
body("comprehension variable scope", "i = 9\nr = [i for i in range(x)]\nreturn i", "r = [i for i in range(x)]\ni = 2\nreturn i")
body("walrus leaks", "y = 0\nr = [y := i for i in range(x)]\nreturn y", "y = 0\nr = [(z := i) for i in range(x)]\nreturn y")
body("f-string text", "return f'a{x}'", "return f'b{x}'")
body("f-string format", "return f'{x:03d}'", "return f'{x:04d}'")
body("f-string conversion", "return f'{str(x)!r}'", "return f'{str(x)!s}'")
body("f-string debug", "y = x\nreturn f'{y=}'", "z = x\nreturn f'{z=}'")
body("f-string nested", "w = 5\nreturn f'{x:{w}d}'", "w = 6\nreturn f'{x:{w}d}'")
body("match value", "match x:\n    case 3:\n        return 1\n    case _:\n        return 2", "match x:\n    case 4:\n        return 1\n    case _:\n        return 2")  # fmt: skip
body("match guard", "match x:\n    case y if y > 2:\n        return 1\n    case _:\n        return 2", "match x:\n    case y if y > 3:\n        return 1\n    case _:\n        return 2")  # fmt: skip
body("match mapping", "match {'a': x}:\n    case {'a': v}:\n        return v\nreturn 0", "match {'a': x}:\n    case {'b': v}:\n        return v\nreturn 0")  # fmt: skip
body("match rest", "match [x, 1, 2]:\n    case [a, *b]:\n        return b", "match [x, 1, 2]:\n    case [*b, a]:\n        return b")
body("nonlocal", "n = 0\ndef g():\n    nonlocal n\n    n = x\ng()\nreturn n", "n = 0\ndef g():\n    n = x\ng()\nreturn n")
body("del", "d = {'a': x, 'b': 1}\ndel d['a']\nreturn d", "d = {'a': x, 'b': 1}\ndel d['b']\nreturn d")
body("starred", "return [*range(x)]", "return [range(x)]")
body("star call", "def g(*a):\n    return len(a)\nreturn g(*range(x))", "def g(*a):\n    return len(a)\nreturn g(range(x))")
body("double star", "return {**{'a': x}, 'a': 1}", "return {'a': 1, **{'a': x}}")
body("try to else", "try:\n    y = 1 / x\nexcept ZeroDivisionError:\n    y = 0\nreturn y", "try:\n    y = 1 / x\nexcept ZeroDivisionError:\n    y = 1\nreturn y", opaque_result=True)  # fmt: skip
body("except type", "try:\n    return 1 / (x - 3)\nexcept ZeroDivisionError:\n    return 0", "try:\n    return 1 / (x - 3)\nexcept ValueError:\n    return 0")  # fmt: skip
body("finally", "r = []\ntry:\n    r.append(x)\nfinally:\n    r.append(1)\nreturn r", "r = []\ntry:\n    r.append(x)\nfinally:\n    r.append(2)\nreturn r")  # fmt: skip
body("for else", "for i in range(x):\n    pass\nelse:\n    return 1\nreturn 2", "for i in range(x):\n    break\nelse:\n    return 1\nreturn 2")
body("while", "n = 0\nwhile n < x:\n    n += 2\nreturn n", "n = 0\nwhile n <= x:\n    n += 2\nreturn n")
body("continue to break", "r = []\nfor i in range(x):\n    if i == 1:\n        continue\n    r.append(i)\nreturn r", "r = []\nfor i in range(x):\n    if i == 1:\n        break\n    r.append(i)\nreturn r")  # fmt: skip
body("conditional expression", "return 1 if x else 2", "return 2 if x else 1")
body("assert", "assert x\nreturn x", "assert not x\nreturn x")
body("raise", "raise ValueError('a')", "raise ValueError('b')")
body("chained comparison", "return 1 < x < 3", "return 1 < x and x < 4")
body("multiple targets", "a = b = [x]\na.append(1)\nreturn b", "a = [x]\nb = [x]\na.append(1)\nreturn b")
body("ternary of sets", "return x in {1, 2, 3}", "return x in {1, 2, 4}")
body("frozen membership of texts", "return str(x) in {'a', 'b', '3'}", "return str(x) in {'a', 'b', 'c'}")
body("big int", "return x + 10**30", "return x + 10**31")
body("long literal", "return x + 123456789012345678901234567890", "return x + 123456789012345678901234567891")
body("complex", "return x + 1j", "return x + 2j")
body("bytes", "return b'ab'[x - 3]", "return b'bb'[x - 3]")
body("surrogate", "return ascii('\\ud800') * x", "return ascii('\\ud801') * x")
body("unicode", "return 'é' * x", "return 'e\\u0301' * x")
body("global statement", "global COUNT\nCOUNT = x\nreturn COUNT", "global COUNT\nCOUNT = x + 1\nreturn COUNT", stateful=True)
body("yield", "yield x", "yield x + 1")
body("yield from", "yield from range(x)", "yield range(x)")
body("local class attribute", "class C:\n    n = 1\nreturn C.n + x", "class C:\n    n = 2\nreturn C.n + x")
body("local class name shows", "class C:\n    pass\nreturn C.__name__", "class D:\n    pass\nreturn D.__name__")
body("nested name shows", "def g():\n    pass\nreturn g.__name__", "def h():\n    pass\nreturn h.__name__")
body("nested name shows through a call", "def g():\n    pass\nreturn repr(g)[:12]", "def h():\n    pass\nreturn repr(h)[:12]")
body("locals()", "a = x\nreturn locals()", "b = x\nreturn locals()")
body("vars()", "a = x\nreturn sorted(vars())", "b = x\nreturn sorted(vars())")
body("eval of a local", "a = x\nb = 2\nreturn eval('a')", "a = x\nb = 2\nreturn eval('b')")
body("builtin for another", "return max(x, 1)", "return min(x, 1)")
body("class annotations read", "class C:\n    a: int\nreturn list(C.__annotations__)", "class C:\n    b: int\nreturn list(C.__annotations__)")
body("starred assignment", "a, *b = range(x)\nreturn a", "*a, b = range(x)\nreturn a")
body("print to return", "y = x\nreturn y", "y = x\nreturn -y")
body("decorated nested", "import functools\n@functools.lru_cache\ndef g(y):\n    return y\nreturn g(x)", "import functools\n@functools.lru_cache\ndef g(y):\n    return -y\nreturn g(x)")  # fmt: skip
body("percent format", "return '%d' % x", "return '%x' % (x + 10)")

miss("parameter renamed", "def f(x, *, scale=1):\n    return locals()", "def f(x, *, factor=1):\n    return locals()")
miss("parameter order", "def f(x, y=2):\n    return x - y", "def f(y, x=2):\n    return x - y", call="f(3, 5)")
miss("star args", "def f(x, *a):\n    return a", "def f(*a):\n    return a", call="f(3, 4)")
miss("async result", "async def f(x):\n    return x", ("return x", "return x + 1"))
miss("async helper", "async def g(x):\n    return x\n\nasync def f(x):\n    return await g(x)", ("    return x\n", "    return x + 1\n"))
miss("async for", "async def g(n):\n    for i in range(n):\n        yield i\n\nasync def f(x):\n    return [i async for i in g(x)]", ("yield i", "yield i * 2"))  # fmt: skip
miss("async with", "class M:\n    async def __aenter__(self):\n        return 1\n    async def __aexit__(self, *a):\n        pass\n\nasync def f(x):\n    async with M() as m:\n        return m + x", ("return 1", "return 2"))  # fmt: skip
hit("lambda as a step", "f = lambda x: x + 1", ("f = lambda x: x + 1", "f = lambda x: (x + 1)"))
miss("lambda as a step edited", "f = lambda x: x + 1", ("x + 1", "x + 2"))
miss("one of two lambdas on a line", "a, b = (lambda x: x + 1), (lambda x: x + 2)\n\ndef f(x):\n    return a(x) * b(x)", ("x + 2", "x + 3"))  # fmt: skip
miss("two lambdas on a line swapped", "a, b = (lambda x: x + 1), (lambda x: x * 2)\n\ndef f(x):\n    return a(x)", ("a, b", "b, a"))
hit("the other lambda on a line", "a, b = (lambda x: x + 1), (lambda x: x * 2)\n\ndef f(x):\n    return a(x)", ("x * 2", "x * 3"))
miss("nested lambda on a line", "a = lambda x: (lambda y: x + y)\n\ndef f(x):\n    return a(x)(1)", ("x + y", "x - y"))
