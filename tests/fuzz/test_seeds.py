"""Every target of the fuzzer reads its valid inputs, those that once failed, and some new ones."""

import random
import warnings
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).with_name("seeds")
CASES = 200


@pytest.fixture(autouse=True)
def _as_in_the_server():
    """Libraries may warn of what a caller says; the server ignores it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_inputs_that_failed_once(path):
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs(name):
    target, draw = TARGETS[name], random.Random(name)
    seeds = target.seeds()
    assert seeds
    for _ in range(CASES):
        target.run(mutated(seeds, draw, target.is_text))
