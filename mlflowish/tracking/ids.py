"""Ids and names of runs, made without asking anybody."""

from __future__ import annotations

import os
import random
import time

_QUALITIES = """
amber bold brave brisk calm clear clever cosy crisp deft eager early fair fleet fresh gentle glad golden grand hardy
honest jolly keen kind late light lively loyal lucid mellow merry mild neat nimble noble patient placid plain polite
proud quick quiet rapid ready rustic serene sharp silent silver smooth snug sober sound spry steady still stout sunny
swift tidy tranquil trusty upbeat vivid warm wise witty young zesty
"""
_CREATURES = """
auk badger bear beaver bison boar crane crow deer dove eagle egret elk falcon ferret finch fox gannet goose grebe hare
hawk heron ibex jackdaw jay kestrel kite lark linnet lynx magpie marten merlin mole moose newt nightjar otter owl plover
puffin quail raven robin rook ruff salmon seal shrew skua snipe sparrow stork swan swift teal tern toad trout vole
weasel wolf wren
"""
_choose = random.SystemRandom()  # the program's own seed is its own: names must not repeat with it, nor disturb it


def new_run_id() -> str:
    """32 hex digits that nobody else has; those of later runs are greater: 6 bytes of milliseconds, 2 of what
    is below, 8 of randomness."""
    whole, below = divmod(time.time_ns(), 1_000_000)
    return (whole.to_bytes(6, "big") + (below >> 4).to_bytes(2, "big") + os.urandom(8)).hex()


def new_run_name() -> str:
    """Two words and a number that a person can say."""
    words = (_choose.choice(words.split()) for words in (_QUALITIES, _CREATURES))
    return f"{'-'.join(words)}-{_choose.randrange(1000)}"
