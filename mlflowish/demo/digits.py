"""Hand-written digits, from images to a score: a pipeline of five steps, written as you would write it.

Run it twice: `python -m mlflowish.demo.digits`. The second run reads everything back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC

import mlflowish as mf

GRID = {"C": [1.0, 2.0, 4.0], "gamma": [0.01, 0.03, 0.1]}


@mf.step
def load() -> tuple[Any, Any]:
    """1,797 images (n, 8, 8) of ink from 0 to 16, and the digit that each one shows (n,)."""
    digits = load_digits()
    return digits.images, digits.target


@mf.step
def split(images: Any, labels: Any, test_share: float = 0.25) -> tuple[Any, Any, Any, Any]:
    """Train images, test images, train labels, test labels; every digit has its share in both."""
    return tuple(train_test_split(images, labels, test_size=test_share, stratify=labels, random_state=0))


@mf.step
def features(images: Any) -> Any:
    """What the model sees of each image: its pixels, its profiles and its edges, (n, d) float64."""
    ink = normalised(images)
    return np.hstack([ink.reshape(len(ink), -1), profiles(ink), edges(ink)])


@mf.step
def train(x: Any, y: Any) -> SVC:
    """The best of a grid of support vector machines, by cross-validation."""
    search = GridSearchCV(SVC(), GRID, cv=5)
    search.fit(x, y)
    return search.best_estimator_


@mf.step
def evaluate(model: SVC, x: Any, y: Any) -> dict[str, Any]:
    """How well it does on images that it has not seen."""
    found = model.predict(x)
    return {"accuracy": float(accuracy_score(y, found)), "confusion": confusion_matrix(y, found)}


@mf.pipeline
def recognise(test_share: float = 0.25) -> dict[str, Any]:
    """What goes into what. Nothing runs while this is read: then all that is stale, and nothing else."""
    images, labels = load()
    train_images, test_images, train_labels, test_labels = split(images, labels, test_share)
    model = train(features(train_images), train_labels)
    return evaluate(model, features(test_images), test_labels)


# Helpers are ordinary functions. Steps notice when what they call changes.


def normalised(images: Any) -> Any:
    """Ink from 0 to 1."""
    return images / 16.0


def profiles(ink: Any) -> Any:
    """How much ink each row and each column holds."""
    return np.hstack([ink.mean(axis=1), ink.mean(axis=2)])


def edges(ink: Any) -> Any:
    """How steep the ink is at each pixel."""
    down, across = np.gradient(ink, axis=(1, 2))
    return np.hypot(down, across).reshape(len(ink), -1)


if __name__ == "__main__":
    print(f"accuracy {recognise()['accuracy']:.1%}")
