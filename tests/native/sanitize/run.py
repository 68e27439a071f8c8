"""Builds the extension with sanitizers and runs what calls it: `make sanitize`. Two hours on two busy cores.

    python -m tests.native.sanitize.run [address] [thread] [--cases 100000]

`address`: AddressSanitizer and UndefinedBehaviorSanitizer, on the tests of operations, models and batches, and on
calls with random arguments (the target `native` of the fuzzer). `thread`: ThreadSanitizer, on the tests of models with
teams of three threads, for which `openmp_threads.cpp` takes the place of libgomp. Both are built in build/sanitize; the
installed extension is not touched. Ends at the first fault, with the status 1.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build" / "sanitize"
MODELS = (
    "tests/native/test_shared_models.py",
    "tests/native/test_refusals.py",
    "tests/native/test_linear.py",
    "tests/engines/voxcpm/test_native_stacks.py",
    "tests/engines/voxcpm/test_native_vae.py",
    "tests/engines/indextts/test_native_gpt.py",
    "tests/engines/indextts/test_native_bigvgan.py",
    "tests/engines/indextts/test_native_flow.py",
)
TESTS = {
    "address": ("tests/native/test_ops.py", "tests/engines/voxcpm/test_prefix_cache.py", *MODELS),
    "thread": MODELS,
}
RUNTIMES = {"address": ("libasan.so", "libstdc++.so.6"), "thread": ("libtsan.so",)}
"""Libraries that must be loaded before all others; with libstdc++ AddressSanitizer sees exceptions."""

OPTIONS = {
    "address": {
        # Python and torch leave memory to the end of the process. Sizes beyond all memory are errors, as without ASan.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096:exitcode=67",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "OMP_NUM_THREADS": "2",
    },
    "thread": {
        # What uninstrumented libraries copy is ordered by what ThreadSanitizer does not see in them.
        "TSAN_OPTIONS": "halt_on_error=1:exitcode=66:ignore_noninstrumented_modules=1",
        "OMP_NUM_THREADS": "3",
    },
}

FAULT_STATUS = {"address": 67, "thread": 66}
"""Exit status of a process in which a fault was found."""


def build(kind: str) -> Path:
    """The extension with one kind of sanitizers; compiled if a file of it has changed."""
    environment = {**os.environ, "INTONE_SANITIZE": kind, "INTONE_CUDA": "0"}
    folders = ["--build-lib", BUILD / kind, "--build-temp", BUILD / kind / "objects"]
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", *folders], cwd=ROOT, env=environment, check=True)
    (built,) = (BUILD / kind).glob("intone/server/ops/_C.*.so")
    return built


def environment(kind: str, extension: Path) -> dict[str, str]:
    """The environment of a process that uses `extension`."""
    found = [subprocess.check_output(["c++", f"-print-file-name={name}"], text=True).strip() for name in RUNTIMES[kind]]
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
    known = {"LD_PRELOAD": " ".join(found), "INTONE_SANITIZED": str(extension), "PYTHONPATH": paths}
    return {**os.environ, **known, **OPTIONS[kind]}


def _status(known: dict[str, str], module: str, *arguments: str, quiet: bool = False) -> int:
    """The exit status of a module."""
    output = subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, env=known, stdout=output, stderr=output, check=False).returncode


def main() -> None:
    """Build and run each kind; print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="address or thread; default: both")
    parser.add_argument("--cases", type=int, default=100_000, help="fuzzed calls, with address; default: %(default)s")
    options = parser.parse_args()
    for kind in options.kinds or TESTS:
        began_s = time.monotonic()
        known = environment(kind, build(kind))
        if _status(known, "tests.native.sanitize.misuse", kind, quiet=True) != FAULT_STATUS[kind]:
            sys.exit(f"{kind}: a fault that is made on purpose was not found")
        commands = [["pytest", "-q", "-p", "tests.native.sanitize.preloaded", *TESTS[kind]]]
        if kind == "address" and options.cases:
            commands.append(["tests.native.sanitize.fuzz", str(options.cases)])
        for module, *arguments in commands:
            if _status(known, module, *arguments):
                sys.exit(1)
        print(f"{kind}: no fault, {(time.monotonic() - began_s) / 60:.0f} min with the build", flush=True)


if __name__ == "__main__":
    main()
