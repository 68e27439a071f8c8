"""The server's own processes: messages, and their end with the server."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intone.server.errors import CallerError, EngineError, Reason, UnsupportedVoiceError
from intone.server.runtime.channel import Channel, Decoder, encoded
from tests.support.faulty_engine import FREEZES
from tests.support.process_workers import children_of, eventually, runs


@pytest.mark.parametrize(
    "error",
    [
        CallerError("text", "is too long", Reason.TEXT_TOO_LONG, limit=600),
        UnsupportedVoiceError("needs a recording"),
        EngineError("voxcpm", "broke"),
    ],
)
def test_errors_pass_the_boundary_with_all_that_they_say(error):
    (passed,) = decoded([error])
    assert type(passed) is type(error) and str(passed) == str(error) and vars(passed) == vars(error)


def decoded(messages: list[Any]) -> list[Any]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in messages:
            theirs.sendall(encoded(message))
        channel = Channel(ours)
        received = [channel.receive() for _ in messages]
        for message in received:
            channel.send(message)
        data = theirs.recv(1 << 16)
    decoder = Decoder()
    return [message for at in range(0, len(data), 3) for message in decoder.push(data[at : at + 3])]


def test_messages_arrive_whole_in_whatever_pieces():
    messages = ["a", ("b", 2), np.arange(1000).tolist(), None]
    assert decoded(messages) == messages


# ---- the server is killed

SERVER = """
import asyncio, sys
from tests.support.process_workers import faulty, request
from intone.server.runtime.process_worker import ProcessWorker
from intone.server.runtime.text_pool import TextPool

async def main():
    pool = await TextPool.launch(1.0, 1)
    worker = await ProcessWorker.launch("starter", faulty, 8, max_step_s=100.0)
    worker.submit(request(sys.argv[1] * 1000))
    await asyncio.sleep(0.3)
    print("up", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("text", ["speaking ", FREEZES])
def test_processes_end_with_a_server_that_is_killed(run, text):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, text], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == "up\n"
        children = children_of(server.pid)
        assert len(children) == 2
    finally:
        server.kill()
        server.communicate()
    run(eventually(lambda: not any(map(runs, children)), 5.0))
