"""What the program sets in libraries, and objects around a computation that can be read."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

INSTALLED = """
## site-packages/tool/__init__.py
from tool import low
RATE = 1
UNUSED = 1
LIMITS = {'low': 1}
class Config:
    rate = 1
    class deep:
        depth = 1
config = Config()
class Engine:
    def run(self, x):
        return x
def h(x):
    return inner(x) * RATE
def inner(x):
    return x
def far(x):
    return low.inner(x)
## site-packages/tool/low.py
def inner(x):
    return x
class Low:
    def go(self, x):
        return x
## site-packages/tool-1.0.dist-info/METADATA
Metadata-Version: 2.1
Name: tool
Version: 1.0
## site-packages/tool-1.0.dist-info/RECORD
tool/__init__.py,,
tool-1.0.dist-info/METADATA,,
"""


def installed(name, setting, use, *edits, expect=miss, **options):
    """The program changes something in an installed package."""
    expect(name, f"## app.py\nimport tool\nimport tool.low\n{setting}\ndef f(x):\n    return {use}\n{INSTALLED}", *edits, **options)


installed("setting of a package", "tool.RATE = 5", "tool.RATE * x", ("RATE = 5", "RATE = 6"))
installed("setting of a package by setattr", "setattr(tool, 'RATE', 5)", "tool.RATE * x", ("'RATE', 5", "'RATE', 6"))
installed("setting of a package to another type", "tool.RATE = 5", "tool.RATE * x", ("RATE = 5", "RATE = 5.0"))
installed("setting of a package that is not used", "tool.UNUSED = 5", "tool.RATE * x", ("UNUSED = 5", "UNUSED = 6"), expect=hit)
miss("setting of a package made in another module", "## app.py\nimport tool\nimport tool.low\nimport setup_tool\ndef f(x):\n    return tool.RATE * x\n## setup_tool.py\nimport tool\ntool.RATE = 5\n" + INSTALLED, ("RATE = 5", "RATE = 6"))
installed("item of a package's dict", "tool.LIMITS['low'] = 5", "tool.LIMITS['low'] * x", ("'] = 5", "'] = 6"))
installed("attribute of a package's class", "tool.Config.rate = 5", "tool.Config.rate * x", ("rate = 5", "rate = 6"))
installed("attribute of a package's nested class", "tool.Config.deep.depth = 5", "tool.Config.deep.depth * x", ("depth = 5", "depth = 6"))
installed("attribute of a package's object", "tool.config.rate = 5", "tool.config.rate * x", ("rate = 5", "rate = 6"))
installed("attribute of an imported class of a package", "from tool import Config\nConfig.rate = 5", "Config.rate * x", ("rate = 5", "rate = 6"))
installed("attribute of an imported object of a package", "from tool import config\nconfig.rate = 5", "config.rate * x", ("rate = 5", "rate = 6"))
installed("function of a package patched", "tool.h = lambda x: x + 1", "tool.h(x)", ("x + 1", "x + 2"))
installed("function that a package calls patched", "tool.inner = lambda x: x + 1", "tool.h(x)", ("x + 1", "x + 2"))
installed("function deep in a package patched", "tool.low.inner = lambda x: x + 1", "tool.far(x)", ("x + 1", "x + 2"), observed=True, minimum=(3, 12))
installed("function patched, called by an imported one", "from tool import h\ndef mine(x):\n    return x + 1\ntool.inner = mine", "h(x)", ("x + 1", "x + 2"))
installed("method of a package's class patched", "tool.Engine.run = lambda self, x: x + 1", "tool.Engine().run(x)", ("x + 1", "x + 2"))
installed("method of a class deep in a package patched", "tool.low.Low.go = lambda self, x: x + 1", "tool.low.Low().go(x)", ("x + 1", "x + 2"))
installed("method added to a package's class", "tool.Engine.more = lambda self, x: x + 1", "tool.Engine().more(x)", ("x + 1", "x + 2"))
installed("class of a package replaced", "class Mine:\n    def run(self, x):\n        return x + 1\ntool.Engine = Mine", "tool.Engine().run(x)", ("x + 1", "x + 2"))
installed("setting of a package read by an import in the body", "tool.RATE = 5", "__import__('tool').RATE * x", ("RATE = 5", "RATE = 6"))
installed("setting of a package read by getattr", "tool.RATE = 5", "getattr(tool, 'RATE') * x", ("RATE = 5", "RATE = 6"))
miss("setting of a package imported in the body", "## app.py\nimport tool\ntool.RATE = 5\ndef f(x):\n    import tool\n    return tool.RATE * x\n" + INSTALLED, ("RATE = 5", "RATE = 6"))
miss("setting of a package from-imported in the body", "## app.py\nimport tool\ntool.RATE = 5\ndef f(x):\n    from tool import RATE\n    return RATE * x\n" + INSTALLED, ("RATE = 5", "RATE = 6"))
miss("data patched into the standard library", "import json\njson.mine = 5\ndef f(x):\n    return json.mine + x", ("mine = 5", "mine = 6"))
miss("function of the standard library patched", "import colorsys\ncolorsys.rgb_to_hls = lambda x: str(x + 1)\ndef f(x):\n    return colorsys.rgb_to_hls(x)", ("x + 1", "x + 2"))
miss("function inside the standard library patched", "import textwrap\ntextwrap.dedent = lambda s: s + 'a'\ndef f(x):\n    return textwrap.dedent('b') * x", ("s + 'a'", "s + 'b'"))

miss("numpy errors set", "import numpy as np\nnp.seterr(divide='ignore')\ndef f(x):\n    return float(np.float64(x) / np.float64(0))", ("'ignore'", "'raise'"), needs="numpy")
miss("numpy print options", "import numpy as np\nnp.set_printoptions(precision=3)\ndef f(x):\n    return str(np.array([x / 7]))", ("precision=3", "precision=4"), needs="numpy")
hit("numpy print options, nothing set", "import numpy as np\ndef f(x):\n    return str(np.array([x / 7]))", ("def f", "np.set_printoptions(precision=8)\ndef f"), needs="numpy")
miss("pandas option", "import pandas as pd\npd.set_option('display.precision', 3)\ndef f(x):\n    return str(pd.DataFrame({'a': [x / 7]}))", ("precision', 3", "precision', 4"), needs="pandas")
miss("pandas option by attribute", "import pandas as pd\npd.options.display.precision = 3\ndef f(x):\n    return str(pd.DataFrame({'a': [x / 7]}))", ("precision = 3", "precision = 4"), needs="pandas")
miss("scikit-learn setting", "import sklearn\nsklearn.set_config(transform_output='default')\ndef f(x):\n    from sklearn.preprocessing import StandardScaler\n    import pandas as pd\n    return type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, x]}))).__name__", ("'default'", "'pandas'"), needs="sklearn")
miss("locale", "import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C')\ndef f(x):\n    return locale.setlocale(locale.LC_NUMERIC)", ("LC_NUMERIC, 'C'", "LC_NUMERIC, 'C.UTF-8'"))
miss("decimal precision", "import decimal\ndecimal.getcontext().prec = 5\ndef f(x):\n    return str(decimal.Decimal(1) / x)", ("prec = 5", "prec = 6"))
hit("environment variable that is not declared", "import os\nos.environ['APP_MODE'] = 'a'\ndef f(x):\n    return x + 0 * len(os.environ['APP_MODE'])", ("'a'", "'b'"))
miss("integer text limit", "import sys\nsys.set_int_max_str_digits(1000)\ndef f(x):\n    return len(str(10 ** 900)) + sys.get_int_max_str_digits()", ("(1000)", "(2000)"))

miss("text stream as a global", "import io\nS = io.StringIO('a')\ndef f(x):\n    return S.getvalue() * x", ("'a'", "'b'"))
miss("byte stream as a global", "import io\nS = io.BytesIO(b'a')\ndef f(x):\n    return S.getvalue() * x", ("b'a'", "b'b'"))
miss("position in a stream", "import io\nS = io.StringIO('abc')\nS.seek(1)\ndef f(x):\n    return S.getvalue()[S.tell():]", ("seek(1)", "seek(2)"))
miss("state of a queue's subclass", "import queue\nclass Q(queue.Queue):\n    rate = 1\nq = Q()\nq.rate = 2\ndef f(x):\n    return q.rate * x", ("q.rate = 2", "q.rate = 3"))
miss("method of a queue's subclass", "import queue\nclass Q(queue.Queue):\n    def rate(self):\n        return 1\nq = Q()\ndef f(x):\n    return q.rate() * x", ("return 1", "return 2"))
miss("content of a queue", "import queue\nq = queue.Queue()\nq.put(1)\ndef f(x):\n    return list(q.queue) + [x]", ("put(1)", "put(2)"))
miss("size of a queue", "import queue\nq = queue.Queue(3)\ndef f(x):\n    return q.maxsize + x", ("Queue(3)", "Queue(4)"))
miss("event set", "import threading\nE = threading.Event()\nE.clear()\ndef f(x):\n    return E.is_set()", ("E.clear()", "E.set()"))
hit("event only waited for", "import threading\nE = threading.Event()\nE.set()\ndef f(x):\n    E.wait(0.01)\n    return x", ("def f", "# c\ndef f"))
miss("logger level read", "import logging\nlog = logging.getLogger('a')\nlog.setLevel(10)\ndef f(x):\n    return log.level + x", ("(10)", "(20)"))
miss("logger level asked for", "import logging\nlog = logging.getLogger('a')\nlog.setLevel(10)\ndef f(x):\n    return log.isEnabledFor(10)", ("(10)\ndef", "(20)\ndef"))
miss("logger name read", "import logging\nlog = logging.getLogger('a')\ndef f(x):\n    return log.name * x", ("'a'", "'b'"))
hit("logger level of a logger that only writes", "import logging\nlog = logging.getLogger('a')\nlog.setLevel(10)\ndef f(x):\n    log.debug('x')\n    return x", ("(10)", "(20)"))
miss("semaphore counter", "import threading\nS = threading.Semaphore(2)\ndef f(x):\n    return S._value + x", ("(2)", "(3)"))
miss("thread name", "import threading\nT = threading.Thread(name='a')\ndef f(x):\n    return T.name * x", ("'a'", "'b'"))
miss("state of a thread's subclass", "import threading\nclass T(threading.Thread):\n    def __init__(self, k):\n        super().__init__()\n        self.k = k\nt = T(1)\ndef f(x):\n    return t.k + x", ("T(1)", "T(2)"))
miss("subclass of a logger adapter", "import logging\nclass A(logging.LoggerAdapter):\n    def rate(self):\n        return 1\na = A(logging.getLogger('a'), {})\ndef f(x):\n    return a.rate() + x", ("return 1", "return 2"))
miss("extra of a logger adapter", "import logging\na = logging.LoggerAdapter(logging.getLogger('a'), {'k': 1})\ndef f(x):\n    return a.extra['k'] + x", ("'k': 1", "'k': 2"))
miss("result of a future", "from concurrent.futures import Future\nF = Future()\nF.set_result(1)\ndef f(x):\n    return F.result() + x", ("set_result(1)", "set_result(2)"))
miss("workers of an executor", "from concurrent.futures import ThreadPoolExecutor\nE = ThreadPoolExecutor(2)\ndef f(x):\n    return E._max_workers + x", ("(2)", "(3)"))
