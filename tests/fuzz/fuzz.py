"""Fuzzes what reads input: text, messages, sound files, voice files, checkpoints; and calls of the native code.

    python tests/fuzz/fuzz.py [TARGET ...] [--cases 100000] [--seed 0] [--coverage]

Each input is a changed copy of a valid one. An input that raises, or takes longer than its target allows, is a fault:
it is written to tests/fuzz/seeds/TARGET/, where `tests/fuzz/test_seeds.py` reads it in every run of the tests from then
on. With --coverage, libFuzzer chooses the changes by the branches that they reach (`pip install atheris`); it ends at
the first fault.
"""

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
MAX_FAULTS = 10
"""Of one target: then it is left."""


def fuzz(name: str, cases: int, seed: int) -> tuple[int, int, float]:
    """Try `cases` inputs on one target; fewer where it has many faults.

    Returns:
        Number of inputs, number of faults, and the longest time that an input took, in milliseconds of CPU.
    """
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import TARGETS

    target, draw = TARGETS[name], random.Random(f"{name} {seed}")
    seeds = target.seeds()
    for data in seeds:  # what is loaded once, and compiled patterns, are not counted
        target.run(data)
    tried, faults, longest_ms = 0, 0, 0.0
    running = ROOT / "build" / "fuzz" / f"{name}.input"
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
    return tried, faults, longest_ms


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
    parser.add_argument("--coverage", action="store_true", help="let libFuzzer choose; takes one target")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # the tests are not installed
    if options.coverage:
        fuzz_by_coverage(*options.targets, options.cases)
    from tests.fuzz.targets import TARGETS

    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(unknown)}; targets are {', '.join(TARGETS)}")
    failed = 0
    for name in options.targets or TARGETS:
        began_s = time.process_time()
        tried, faults, longest_ms = fuzz(name, options.cases, options.seed)
        took_s = time.process_time() - began_s
        print(f"{name:16}{tried:>10,} inputs {faults:>4} faults   longest {longest_ms:6.1f} ms   {took_s:6.0f} s")
        failed += faults
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
