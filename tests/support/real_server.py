"""Runs `intone-server` in a process of its own, for foreign clients and the commands in the docs."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

START_S, STOP_S = 120.0, 60.0


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[str]:
    """Start the server on a free port of the loopback and yield its address; stop it with SIGTERM.

    Its log is `folder`/server.log.

    Raises:
        RuntimeError: it does not start, or does not end with status 0; the message has the end of its log.
    """
    log, port_file = folder / "server.log", folder / "port"
    command = [sys.executable, "-m", "intone.server", "--port", "0", "--port-file", str(port_file)]
    command += ["--max-load", "0", *flags]  # how much is admitted would depend on how busy the machine is
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield f"127.0.0.1:{_port(process, port_file, log)}"
        process.terminate()
        if process.wait(STOP_S) != 0:
            raise RuntimeError(f"the server ended with status {process.returncode}:\n{_tail(log)}")
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if port_file.exists() and (written := port_file.read_text("ascii").strip()):
            return int(written)
        time.sleep(0.05)
    state = "does not serve" if process.poll() is None else f"ended with status {process.returncode}"
    raise RuntimeError(f"the server {state} ({' '.join(map(str, process.args))}):\n{_tail(log)}")  # type: ignore[arg-type]


def _tail(log: Path) -> str:
    return "".join(log.read_text("utf8").splitlines(keepends=True)[-40:])
