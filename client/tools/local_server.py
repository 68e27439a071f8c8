"""Runs an intone server on this machine in a child process. Needs the server installed beside the client."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from intone.client.errors import IntoneError
from intone.client.tools.console import Console

_START_TIMEOUT_S = 180.0
"""Generous, because the first start may compile the extension."""

_STOP_TIMEOUT_S = 20.0
_PORT_POLL_S = 0.1
_LOG_LINES = 30
_ADDRESS = ("--host", "127.0.0.1", "--port", "0")


class LocalServerError(Exception):
    """The server failed. The message says how, with the end of the server's log."""


@contextmanager
def local_server(
    settings: Sequence[str], scratch: Path, console: Console, *, start_timeout_s: float = _START_TIMEOUT_S
) -> Iterator[str]:
    """Run a server on a free local port while the context lasts. Yields its address as "host:port".

    Args:
        settings: flags of `intone-server`.
        scratch: a folder for its log and port file.
        console: prints that it starts, and that it had to be killed.
        start_timeout_s: the longest wait until it accepts calls.

    Raises:
        LocalServerError: the server did not start or exited early, or a call to it failed.
    """
    log, port_file = scratch / "server.log", scratch / "port"
    command = [sys.executable, "-m", "intone.server", *_ADDRESS, *settings, "--port-file", str(port_file)]
    console.print(f"starting intone-server {' '.join(command[3:])}", style="dim", soft_wrap=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        port = _wait_for_port(process, port_file, log, start_timeout_s)
        yield f"127.0.0.1:{port}"
        if process.poll() is not None:
            raise LocalServerError(f"the server exited with code {process.returncode}\n{_log_tail(log)}")
    except IntoneError as error:
        raise LocalServerError(f"{error}\n{_log_tail(log)}") from error
    finally:
        _stop(process, console)


def _wait_for_port(process: "subprocess.Popen[bytes]", port_file: Path, log: Path, timeout_s: float) -> int:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise LocalServerError(f"the server did not start: exit code {process.returncode}\n{_log_tail(log)}")
        written = port_file.read_text().strip() if port_file.exists() else ""
        if written:
            return int(written)
        time.sleep(_PORT_POLL_S)
    raise LocalServerError(f"the server was not ready after {timeout_s:.0f} s\n{_log_tail(log)}")


def _stop(process: "subprocess.Popen[bytes]", console: Console) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        console.print(f"the server did not stop within {_STOP_TIMEOUT_S:.0f} s and was killed", style="yellow")
        process.kill()
        process.wait()


def _log_tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(["The end of its log:", *lines[-_LOG_LINES:]])
