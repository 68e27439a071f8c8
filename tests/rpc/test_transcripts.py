"""Golden transcripts are what the server says, to Python and to Node; see `tests/support/transcripts.py`."""

import asyncio
import copy
import json
from typing import Any

import pytest

from intone.proto import speech_pb2
from tests.support import transcripts
from tests.support.foreign_clients import FOREIGN, node_environment
from tests.support.live_server import Live


@pytest.mark.parametrize("name", transcripts.names())
def test_python_replays_it(run, name):
    async def main() -> None:
        transcript = transcripts.load(name)
        async with transcripts.server(transcript) as running:
            await transcripts.replay(transcript, running)

    run(main())


async def replay_in_node(transcript: dict[str, Any], environment: dict[str, str]) -> None:
    """Run `tests/foreign/replay.js`; it says on its standard output when the server is to stop."""
    async with transcripts.server(transcript) as running:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(FOREIGN / "replay.js"),
            f"127.0.0.1:{running.app.port}",
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await _talk_to(process, transcript, running)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _talk_to(process: asyncio.subprocess.Process, transcript: dict[str, Any], running: Live) -> None:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(json.dumps(transcript).encode())
    process.stdin.close()
    stopping = None
    while line := await process.stdout.readline():
        stopping = asyncio.create_task(running.app.stop(json.loads(line)["stop"]["grace_ms"] / 1000))
    said = (await process.stderr.read()).decode()
    assert await process.wait() == 0, said
    if stopping is not None:
        await stopping


def in_one_call(name: str) -> bool:
    """Whether no call of a transcript is lost: Node's client has no way to lose one."""
    return not any("cut" in step for step in transcripts.load(name)["steps"])


@pytest.mark.parametrize("name", [*filter(in_one_call, transcripts.names())])
def test_node_replays_it(run, require, name):
    run(replay_in_node(transcripts.load(name), node_environment(require)), timeout_s=60.0)


def test_node_finds_a_difference(run, require):
    transcript = transcripts.load("plain_turn")
    (done,) = [step["server"]["done"] for step in transcript["steps"] if "done" in step.get("server", {})]
    done["usage"]["unit_count"] += 1
    with pytest.raises(AssertionError, match=r"step \d+: expected .*, found "):
        run(replay_in_node(transcript, node_environment(require)), timeout_s=60.0)


def test_a_difference_is_found():
    def differs(change: Any) -> bool:
        found = copy.deepcopy(step)
        change(found["server"]["audio"])
        return not transcripts.matches(step, found)

    steps = transcripts.load("plain_turn")["steps"]
    step = next(step for step in steps if "audio" in step.get("server", {}))
    assert not differs(lambda audio: None)
    assert differs(lambda audio: audio.update(sample_count=5))
    assert differs(lambda audio: audio.update(data="<bytes with SHA-256 0>"))
    assert differs(lambda audio: audio.pop("text_span"))
    assert differs(lambda audio: audio.update(filler_text="Hm"))
    assert transcripts.matches({"a": ["<any number>", "<any text>"]}, {"a": [0.5, "words"]})
    assert not transcripts.matches({"a": "<any number>"}, {"a": "0.5"})
    assert not transcripts.matches({"a": "<any text>"}, {"a": ""})


def test_they_show_every_kind_of_message():
    """Word times come with a later version; PLAYBACK_STALLED and the like take seconds of waiting."""
    steps = [step for name in transcripts.names() for step in transcripts.load(name)["steps"]]
    sent = {kind for step in steps for kind in step.get("client", ())}
    received = {kind for step in steps for kind in step.get("server", ())}
    requests = speech_pb2.StreamSynthesizeRequest.DESCRIPTOR.oneofs_by_name["request"].fields
    responses = speech_pb2.StreamSynthesizeResponse.DESCRIPTOR.oneofs_by_name["response"].fields
    assert {field.name for field in requests} <= sent
    assert {field.name for field in responses} - received == {"timing"}


@pytest.mark.parametrize("name", ["plain_turn", "interrupt_all"])
def test_the_command_that_renews_them_gives_what_is_committed(run, name):
    transcript = transcripts.load(name)
    text = (transcripts.FOLDER / f"{name}.json").read_text("utf8")
    assert transcripts.written({**transcript, "steps": run(transcripts.record(transcript))}) == text
