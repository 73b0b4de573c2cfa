"""A small project as a user has it, in a folder: a package, a library that was installed, a script."""

import os
import subprocess
import sys
from pathlib import Path

FILES = {
    "lib/unitlib/__init__.py": "def unit(x):\n    return x * 1.0\n",
    "lib/unitlib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: unitlib\nVersion: 1.0\n",
    "lib/unitlib-1.0.dist-info/RECORD": "unitlib/__init__.py,,\n",
    "src/shop/__init__.py": "",
    "src/shop/prices.py": "from . import rates\n\n\ndef price(x):\n    return x * rates.RATE\n",
    "src/shop/rates.py": 'RATE = 3\nAPI_KEY = "abc-very-secret"\n',
    "src/shop/steps.py": """
import mlflowish as mf
from shop.prices import price


@mf.step
def priced(x):
    return price(x)


class Shop:
    @staticmethod
    @mf.step
    def doubled(x, by=2):
        return price(x) * by
""",
    "src/shop/boxes.py": """
import mlflowish as mf


class Box:
    def __init__(self, size):
        self.size = size

    def weight(self):
        return self.size * 2


@mf.step
def boxed(size):
    return Box(size)
""",
    "src/shop/scales.py": """
import mlflowish as mf


@mf.step
def weighed(box):
    return box.weight()
""",
    "src/train.py": """
import asyncio
import datetime
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import mlflowish as mf
from shop.boxes import boxed
from shop.scales import weighed
from shop.steps import Shop, priced
from unitlib import unit

OUTSIDE = Path(__file__).with_name("outside.txt")
LIMITS = {"low": 0, "high": (9, None)}
TABLE = np.arange(3) * 0.5
PASSWORD = "hunter2-secret"


@dataclass
class Point:
    x: int
    y: float = 0.5


def moved(point, by: "Point | int" = 0):
    return Point(point.x + 1 + by, point.y)


@mf.step
def located(n, when=datetime.date(2020, 1, 1), *more, scale=(1, 2), **named):
    point = moved(Point(n))
    return [point.x, point.y, when.year, list(more), sorted(named), scale, LIMITS["high"], TABLE.tolist()]


@mf.step
def load(n):
    return np.arange(n, dtype="float64")


@mf.step
def split(rows):
    half = len(rows) // 2
    return rows[:half].copy(), rows[half:].copy()


@mf.step
def train(rows, lr=0.1):
    return {"weights": rows * lr, "point": Point(3)}


@mf.step
def judged(model):
    return model["point"].x + float(model["weights"].sum())


@mf.step
def total(parts, rate=1):
    return float(sum(part.sum() for part in parts)) * rate


@mf.step
def mixed(items):
    return float(items[0].sum() + items[1] + items[2]["b"].sum())


@mf.step
def outer(n):
    return inner(n) + inner(n + 1)


@mf.step
def inner(n):
    return n * 10


@mf.step
def items(n):
    yield from range(n)


@mf.step
async def later(n):
    await asyncio.sleep(0)
    return n + 1


@mf.step(seed=True)
def seeded(n):
    return [random.random() for _ in range(n)], np.random.rand(n)


@mf.step
def chance(n):
    return np.random.default_rng().random(n)


@mf.step
def outside(n):
    return [n, float(OUTSIDE.read_text())]


@mf.step
def of_file(file):
    return Path(file).read_text().upper()


@mf.step
def of_frame(df, n):
    return df.sum() * n


@mf.step
def logged_in(user, password):
    return len(user) + len(password)


@mf.step
def global_secret(n):
    return n + len(PASSWORD)


@mf.step
def measured(x):
    return unit(x)


@mf.step
def dies(n):
    if os.environ.get("REPRODUCTION_DIES"):
        os._exit(7)
    return n


@mf.step
def raises(n):
    if os.environ.get("REPRODUCTION_DIES"):
        raise OSError("no such luck")
    return n


def make(n):
    def add(x):
        return x + n

    @mf.step
    def added(x):
        return add(x) + TABLE.sum()

    return added


def main():
    with mf.start_run("everything"):
        priced(2)
        Shop.doubled(2, by=4)
        located(1), located(2, datetime.date(2021, 1, 1), "a", None, scale=[1], z=1.5)
        rows = load(6)
        first, second = split(rows)
        judged(train(first, lr=0.5))
        weighed(boxed(3))
        total([first, second]), total((load(2), load(2)), rate=2), mixed([rows, 3, {"b": second}])
        outer(1)
        list(items(4))
        asyncio.run(later(1))
        seeded(3)
        chance(2)
        outside(1)
        of_file(mf.File("words.txt"))
        of_frame(np.ones(4), 2)
        logged_in("me", "pass-phrase")
        global_secret(1)
        measured(1.5)
        raises(1)
        make(5)(1)
        (mf.step(lambda x: x - 1, name="less"))(4)
        dies(1)
        inner(77)


if __name__ == "__main__":
    main()
""",
    "src/outside.txt": "1.5",
    "src/words.txt": "some words",
}


def make(folder: Path) -> Path:
    """Write the project into a folder and run its script once; gives the folder of its store."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    store = folder / "store"
    env = {**os.environ, "MLFLOWISH_STORE": str(store), "PYTHONPATH": str(folder / "lib")}
    subprocess.run([sys.executable, "train.py"], cwd=folder / "src", env=env, check=True)
    return store
