"""Modules imported under computed names, plug-ins, resources: what no reader of the code can foresee."""

# ruff: noqa: E501  one case a line: text of files, edit, expectation
# fmt: off

from cases import Cases

cases = Cases()
hit, miss = cases.hit, cases.miss

LIB = "\n## lib.py\nimport low\nK = 1\ndef h(x):\n    return low.h(x)\n## low.py\nJ = 1\nU = 1\ndef h(x):\n    return x + 10\n"


def loaded(name, body, *edits, expect=miss, head="import importlib\nNAME = 'lib'", more=LIB, **options):
    """The step loads a module under a name that it computes."""
    expect(name, f"## app.py\n{head}\ndef f(x):\n    {body}\n{more}", *edits, **options)


loaded("constant of a module named by a global", "return importlib.import_module(NAME).K + x", ("K = 1", "K = 2"))
loaded("function of a module named by a global", "return importlib.import_module(NAME).h(x)", ("x + 10", "x + 11"))
loaded("unrelated value of a module below one named by a global", "return importlib.import_module(NAME).h(x)", ("# nothing", "# nothing else"), expect=hit, more=LIB + "# nothing\n")
loaded("constant of a module named by concatenation", "return importlib.import_module('li' + 'b').K + x", ("K = 1", "K = 2"), observed=True)
loaded("constant of a module named by an argument", "return importlib.import_module(x).K", ("K = 1", "K = 2"), call="f('lib')", observed=True)
loaded("constant of a module named by a local", "n = 'lib'\n    return importlib.import_module(n).K + x", ("K = 1", "K = 2"), observed=True)
loaded("constant of a module named by a format", "return importlib.import_module(f'{NAME[:2]}b').K + x", ("K = 1", "K = 2"), observed=True)
loaded("constant of a module below one named by a local", "n = 'lib'\n    return importlib.import_module(n).low.J + x", ("J = 1", "J = 2"), observed=True)
loaded("comment in a module named by a local", "n = 'lib'\n    return importlib.import_module(n).K + x", ("K = 1", "# c\nK = 1"), expect=hit, observed=True)
loaded("untouched module named by a local", "n = 'lib'\n    return importlib.import_module(n).K + x", ("def f", "# c\ndef f"), expect=hit, observed=True)
loaded("__import__ of a global", "return __import__(NAME).K + x", ("K = 1", "K = 2"))
loaded("__import__ of a local", "n = 'lib'\n    return __import__(n).K + x", ("K = 1", "K = 2"), observed=True)
loaded("runpy", "return runpy.run_path(str(HERE.with_name('lib.py')))['K'] + x", ("K = 1", "K = 2"), head="import runpy\nfrom pathlib import Path\nHERE = Path(__file__)", observed=True, in_place=True, minimum=(3, 12))
loaded("runpy of a module", "return runpy.run_module(NAME)['K'] + x", ("K = 1", "K = 2"), head="import runpy\nNAME = 'lib'", observed=True)
loaded("spec from a file", "spec = util.spec_from_file_location('odd', str(HERE.with_name('lib.py')))\n    m = util.module_from_spec(spec)\n    spec.loader.exec_module(m)\n    return m.K + x", ("K = 1", "K = 2"), head="import importlib.util as util\nfrom pathlib import Path\nHERE = Path(__file__)", observed=True, in_place=True, minimum=(3, 12))
loaded("pkgutil.resolve_name", "return pkgutil.resolve_name('lib:K') + x", ("K = 1", "K = 2"), head="import pkgutil", observed=True)
PLUGINS = "\n## plugins/__init__.py\n## plugins/a.py\nK = 1\ndef go(x):\n    return x + K\n## plugins/b.py\nK = 5\n"
loaded("plug-ins found by pkgutil", "return sum(importlib.import_module(f'plugins.{m.name}').K for m in pkgutil.iter_modules(plugins.__path__)) + x", ("K = 1", "K = 2"), head="import importlib\nimport pkgutil\nimport plugins", more=PLUGINS)
loaded("plug-ins found by pkgutil under a prefix kept", "return sum(importlib.import_module(m.name).K for m in pkgutil.iter_modules(plugins.__path__, PRE)) + x", ("K = 1", "K = 2"), head="import importlib\nimport pkgutil\nimport plugins\nPRE = 'plugins.'", more=PLUGINS, observed=True)
loaded("plug-ins loaded from a folder", "import sys\n    sys.path.insert(0, str(HERE.with_name('plugins')))\n    return importlib.import_module('a').go(x)", ("K = 1", "K = 2"), head="import importlib\nfrom pathlib import Path\nHERE = Path(__file__)", more=PLUGINS, observed=True, in_place=True)
loaded("helper loads by a computed name", "return load('li' + 'b').K + x", ("K = 1", "K = 2"), head="import importlib\ndef load(name):\n    return importlib.import_module(name)", observed=True)
loaded("class of a module named by a path in text", "return load('lib:K') + x", ("K = 1", "K = 2"), head="import importlib\ndef load(path):\n    m, n = path.split(':')\n    return getattr(importlib.import_module(m), n)", observed=True)
loaded("mapping of names to modules", "return importlib.import_module(TABLE['a']).K + x", ("K = 1", "K = 2"), head="import importlib\nTABLE = {'a': 'lib'}", observed=True)
loaded("import by exec of computed text", "d = {}\n    exec('import ' + NAME, d)\n    return d['lib'].K + x", ("K = 1", "K = 2"), observed=True)
loaded("json beside the module", "return json.loads(HERE.with_name('cfg.json').read_text())['k'] + x", ("def f", "# c\ndef f"), expect=hit, head="import json\nfrom pathlib import Path\nHERE = Path(__file__)", more="\n## cfg.json\n{\"k\": 1}\n", in_place=True)
