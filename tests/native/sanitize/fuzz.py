"""Fuzzes the extension that `preloaded` loads: `python -m tests.native.sanitize.fuzz CASES [--seed N]`."""

import sys

from tests.fuzz import fuzz
from tests.native.sanitize import preloaded  # noqa: F401  before the package is imported

if __name__ == "__main__":
    sys.argv[1:] = ["native", "--cases", *sys.argv[1:]]
    fuzz.main()
