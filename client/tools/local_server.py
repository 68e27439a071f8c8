"""A server on this machine, in a process of its own, for as long as it is needed. Needs the server installed."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from intone.client.errors import IntoneCallError

_START_S = 180.0
"""A cold start may build the extension first."""

_STOP_S = 20.0
_POLL_S = 0.1
_LOG_LINES = 30
_PLACE = ("--host", "127.0.0.1", "--port", "0")


class LocalServerError(Exception):
    """The server could not be used; the message says what happened, with the end of its log."""


@contextmanager
def local_server(settings: Sequence[str], scratch: Path, console: Console) -> Iterator[str]:
    """A server on a free port of this machine, as "host:port", that is gone when the context is left.

    Args:
        settings: flags of `intone-server`.
        scratch: a folder for its log.
        console: told of the start.

    Raises:
        LocalServerError: it did not start, or ended while it was needed.
    """
    log, port_file = scratch / "server.log", scratch / "port"
    command = [sys.executable, "-m", "intone.server", *_PLACE, *settings, "--port-file", str(port_file)]
    console.print(f"starting the server: intone-server {' '.join(command[3:])}", style="dim", soft_wrap=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        port = _wait_for_port(process, port_file, log)
        yield f"127.0.0.1:{port}"
        if process.poll() is not None:
            raise LocalServerError(f"the server ended with code {process.returncode}\n{_tail(log)}")
    except IntoneCallError as error:
        raise LocalServerError(f"{error}\n{_tail(log)}") from error
    finally:
        _stop(process, console)


def _wait_for_port(process: "subprocess.Popen[bytes]", port_file: Path, log: Path) -> int:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise LocalServerError(f"the server did not start (code {process.returncode})\n{_tail(log)}")
        written = port_file.read_text().strip() if port_file.exists() else ""
        if written:
            return int(written)
        time.sleep(_POLL_S)
    raise LocalServerError(f"the server was not ready after {_START_S:.0f} s\n{_tail(log)}")


def _stop(process: "subprocess.Popen[bytes]", console: Console) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        console.print("the server did not stop by itself and was killed", style="yellow")
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(["the end of its log:", *lines[-_LOG_LINES:]])
