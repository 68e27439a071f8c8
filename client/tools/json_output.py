"""JSON lines on standard output, for programs."""

import json
import sys


def write_json(values: object) -> None:
    """Write one line of JSON to standard output and flush it."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    sys.stdout.flush()
