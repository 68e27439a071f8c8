"""Fixtures of the tests of engines."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture
def no_gradients() -> Iterator[None]:
    """Inference mode, for tests that call modules directly: `pytestmark = pytest.mark.usefixtures("no_gradients")`."""
    with torch.inference_mode():
        yield


@pytest.fixture
def turns_while() -> Callable[[Callable[[], object]], int]:
    """`turns_while(work)`: how often this thread got the GIL while `work` ran on another thread."""

    def count(work: Callable[[], object]) -> int:
        thread = threading.Thread(target=work)
        thread.start()
        turns = 0
        while thread.is_alive():
            turns += 1
        thread.join()
        return turns

    return count
