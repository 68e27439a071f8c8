"""Fuzzes what reads input: text, messages, sound files, voice files, checkpoints; and calls of the native code.

    python tests/fuzz/fuzz.py [TARGET ...] [--cases 100000] [--seed 0] [--jobs 1] [--coverage]

`make fuzz` tries a million. Each input is a changed copy of a valid one. An input that raises, or takes longer than its
target allows, is a fault: it is written to tests/fuzz/seeds/TARGET/, where `tests/fuzz/test_seeds.py` reads it in every
run of the tests from then on. With --coverage, libFuzzer chooses the changes by the branches that they reach (`pip
install atheris`); it ends at the first fault.
"""

import argparse
import hashlib
import os
import random
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import reduce
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
MAX_FAULTS = 10
"""Of one target: then it is left."""


PIECE = 5000
"""Inputs that a process tries before it takes others, with a random generator of their own."""


class Tally(NamedTuple):
    """What some inputs showed: their number, faults, the longest time of one and the time of all, on the processor."""

    tried: int = 0
    faults: int = 0
    longest_ms: float = 0.0
    took_s: float = 0.0

    def plus(self, other: "Tally") -> "Tally":
        """Of both."""
        longest_ms = max(self.longest_ms, other.longest_ms)
        return Tally(self.tried + other.tried, self.faults + other.faults, longest_ms, self.took_s + other.took_s)


def fuzz(name: str, cases: int, seed: str) -> Tally:
    """Try `cases` inputs on one target; fewer where it has many faults."""
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import TARGETS

    target, draw = TARGETS[name], random.Random(f"{name} {seed}")
    seeds = target.seeds()
    for data in seeds:  # what is loaded once, and compiled patterns, are not counted
        target.run(data)
    tried, faults, longest_ms = 0, 0, 0.0
    began_s = time.process_time()
    running = ROOT / "build" / "fuzz" / f"{name}-{os.getpid()}.input"
    running.parent.mkdir(parents=True, exist_ok=True)
    while tried < cases and faults < MAX_FAULTS:
        tried += 1
        data = mutated(seeds, draw, target.is_text)
        running.write_bytes(data)  # stays there if this input ends the process
        try:
            took_ms = _timed_ms(name, data)
            if took_ms > target.max_ms:
                took_ms = min(took_ms, _timed_ms(name, data))  # again: the garbage collector may have run
        except Exception:  # noqa: BLE001 (that is what is looked for)
            print(f"{name}: {_kept(name, data)}\n{traceback.format_exc(limit=-3)}", flush=True)
            faults += 1
        else:
            longest_ms = max(longest_ms, took_ms)
            if took_ms > target.max_ms:
                print(f"{name}: {_kept(name, data)} took {took_ms:.0f} ms", flush=True)
                faults += 1
    running.unlink(missing_ok=True)
    return Tally(tried, faults, longest_ms, time.process_time() - began_s)


def fuzz_all(names: Sequence[str], cases: int, seed: int, jobs: int) -> Iterator[tuple[str, Tally]]:
    """Try `cases` inputs on each target; each target when it is done. With one of `jobs`, in this process."""
    pieces = [(min(PIECE, cases - start), f"{seed} {index}") for index, start in enumerate(range(0, cases, PIECE))]
    if jobs == 1:
        for name in names:
            yield name, _sum(fuzz(name, size, drawn) for size, drawn in pieces)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_prepare_process) as pool:
        futures = {name: [pool.submit(fuzz, name, size, drawn) for size, drawn in pieces] for name in names}
        for name, of_target in futures.items():
            yield name, _sum(future.result() for future in of_target)


def _sum(tallies: Iterable[Tally]) -> Tally:
    return reduce(Tally.plus, tallies, Tally())


def _prepare_process() -> None:
    _find_tests()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print about damaged files


def _find_tests() -> None:
    sys.path.insert(0, str(ROOT))  # the tests are not installed
    warnings.simplefilter("ignore")  # libraries may warn of what a caller says; the server ignores it


def _timed_ms(name: str, data: bytes) -> float:
    from tests.fuzz.targets import TARGETS

    began_s = time.process_time()
    TARGETS[name].run(data)
    return 1000 * (time.process_time() - began_s)


def _kept(name: str, data: bytes) -> str:
    """Write an input that fails, and name the file."""
    path = SEEDS / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path.relative_to(ROOT))


def fuzz_by_coverage(name: str, cases: int) -> None:
    """Try inputs that libFuzzer makes. Does not return."""
    import atheris

    with atheris.instrument_imports(include=["intone"]):
        from tests.fuzz.targets import TARGETS
    corpus = ROOT / "build" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in TARGETS[name].seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    atheris.Setup([sys.argv[0], str(corpus), f"-runs={cases}", "-max_len=4096"], TARGETS[name].run)
    atheris.Fuzz()


def main() -> None:
    """Fuzz and print a line for each target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--cases", type=int, default=100_000, help="inputs for each target; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="other inputs; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once; default: %(default)s")
    parser.add_argument("--coverage", action="store_true", help="let libFuzzer choose; takes one target")
    options = parser.parse_args()
    _find_tests()
    if options.coverage:
        fuzz_by_coverage(*options.targets, options.cases)
    from tests.fuzz.targets import TARGETS

    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(unknown)}; targets are {', '.join(TARGETS)}")
    total = Tally()
    try:
        for name, tally in fuzz_all(options.targets or list(TARGETS), options.cases, options.seed, options.jobs):
            _print(name, tally)
            total = total.plus(tally)
    except BrokenProcessPool:
        sys.exit(f"an input ended its process: it is one of {ROOT}/build/fuzz/*.input")
    _print("all", total)
    sys.exit(1 if total.faults else 0)


def _print(name: str, tally: Tally) -> None:
    tried, faults, longest_ms, took_s = tally
    text = f"{name:16}{tried:>10,} inputs {faults:>4} faults   longest {longest_ms:6.1f} ms   {took_s:6.0f} s"
    print(text, flush=True)


if __name__ == "__main__":
    main()
