"""How OpenMP threads wait. Imports nothing, so that it can be set before torch is imported."""

import os


def let_waiting_threads_sleep() -> None:
    """Make OpenMP threads that wait for one another give up their core soon. Call it before torch is imported.

    By default GNU OpenMP threads spin for milliseconds, often on the core of the very thread that they wait for: on a
    machine with other busy processes that takes ten times as long. A variable that is set already is left alone.
    """
    environment = os.environ  # noqa: TID251  (the only way to tell OpenMP)
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", "1000")  # tens of microseconds: long enough for the next parallel loop
