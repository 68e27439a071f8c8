"""Golden transcripts: conversations in both directions, which every client and every way to the server must replay.

A file of `tests/data/transcripts` says what it is `about`, which `method` is called, settings of the `server` and of
its scripted `engine`, and the `steps`, in order:

    {"client": …}         the client sends this message
    {"client_bytes": …}   the client sends these bytes (base64), no valid message
    {"half_close": true}  the client sends no more
    {"wait_ms": …}        the client does nothing for this time
    {"stop": {…}}         the server begins to shut down
    {"cut": true}         the call is lost for the client, and what it does next begins another one
    {"server": …}         the next message of the server is this one
    {"status": …}         the call ends with this status

Messages are in the JSON mapping of protobuf, with field names as in the .proto files. In what the server sends,
`<any …>` stands for a value that differs from run to run or is for people only; audio is given by its SHA-256. In what
the client sends, `<stream_id>` and `<resume_token>` are those of the last `configured`.

To write a new one, give of each run of server messages only the last one, with its ids, and fill in the rest; the same
command renews all of them after a change of the protocol:

    python -m tests.support.transcripts [NAME …]
"""

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2  # noqa: F401  (so that JSON can show details of errors)

from intone.proto import speech_pb2
from intone.server.domain import EngineParameter
from tests.support.fakes import Script, ScriptedEngine, info
from tests.support.live_server import Live, live, serialized

FOLDER = Path(__file__).resolve().parents[1] / "data" / "transcripts"
READ_S = 20.0
IDS = ("utterance_id", "flush_id", "interrupt_id", "request_index")
ANY = {
    "stream_id": "<any id>",
    "resume_token": "<any token>",
    "server_version": "<any version>",
    "message": "<any text>",
    "explanation": "<any text>",
    "description": "<any text>",
}
"""What replaces the value of a field."""
TIMES = ("latency", "stage_ms")
"""Messages and maps whose numbers are measured times; `<any number>` replaces them."""

Step = dict[str, Any]


def names() -> list[str]:
    """The transcripts there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """A transcript."""
    transcript: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf8"))
    return transcript


def server(transcript: dict[str, Any]) -> Any:
    """The server of a transcript, to be entered as a context."""
    given = dict(transcript.get("engine", {}))
    script = {one.name: given.pop(one.name) for one in fields(Script) if one.name in given}
    given["parameters"] = tuple(EngineParameter(**one) for one in given.get("parameters", ()))
    return live(ScriptedEngine(Script(**script), info(**given)), **transcript.get("server", {}))


# ---- messages -------------------------------------------------------------------------------------------------------


def shown(message: Any) -> dict[str, Any]:
    """A message of the server as JSON; audio by its SHA-256."""
    shown: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    if "audio" in shown:
        digest = hashlib.sha256(base64.b64decode(shown["audio"]["data"])).hexdigest()
        shown["audio"]["data"] = f"<bytes with SHA-256 {digest}>"
    return shown


def with_wildcards(value: Any, name: str = "") -> Any:
    """The JSON of a message with `<any …>` for what differs from run to run."""
    if isinstance(value, dict):
        if name in TIMES:
            return {key: with_wildcards(one, key if key in TIMES else "latency") for key, one in value.items()}
        return {key: with_wildcards(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [with_wildcards(one, name) for one in value]
    return "<any number>" if name in TIMES else ANY.get(name, value)


def matches(expected: Any, found: Any) -> bool:
    """Whether a value is the expected one; the expected one may have `<any …>`."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(matches(one, found[key]) for key, one in expected.items())
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(matches, expected, found))
    if expected == "<any number>":
        return isinstance(found, int | float)
    if isinstance(expected, str) and expected.startswith("<any "):
        return isinstance(found, str) and found != ""
    return bool(expected == found)


# ---- calls ----------------------------------------------------------------------------------------------------------


class Call:
    """One call of the method of a transcript."""

    def __init__(self, channel: Any, method: str) -> None:
        path = f"/intone.v1.SpeechService/{method}"
        self._request = getattr(speech_pb2, f"{method}Request")
        response = getattr(speech_pb2, f"{method}Response").FromString
        self._single = None if method == "StreamSynthesize" else channel.unary_stream(path, serialized, response)
        self._open = None if self._single else channel.stream_stream(path, serialized, response)
        self._call = self._open and self._open()
        self._configured: dict[str, str] = {}

    async def take(self, step: Step) -> None:
        """A step of the client."""
        if "wait_ms" in step:
            await asyncio.sleep(step["wait_ms"] / 1000)
        elif "cut" in step:
            self._call.cancel()
            self._call = self._open()
        elif "half_close" in step:
            await self._call.done_writing()
        elif "client_bytes" in step:
            await self._call.write(base64.b64decode(step["client_bytes"]))
        elif self._single:
            self._call = self._single(json_format.ParseDict(step["client"], self._request()))
        else:
            await self._call.write(json_format.ParseDict(self._filled(step["client"]), self._request()))

    def _filled(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message with the stream and the token of the last `configured`."""
        known = {f"<{name}>": self._configured.get(name) for name in ("stream_id", "resume_token")}
        return {kind: {name: known.get(str(one), one) for name, one in of.items()} for kind, of in message.items()}

    async def answer(self) -> Step:
        """The next message of the server as a step, or the status of the call."""
        try:
            message = await asyncio.wait_for(self._call.read(), READ_S)
        except grpc.aio.AioRpcError as error:
            return {"status": error.code().name}
        if message is grpc.aio.EOF:
            return {"status": (await self._call.code()).name}
        answer = shown(message)
        self._configured = answer.get("configured", self._configured)
        return {"server": answer}


async def replay(transcript: dict[str, Any], running: Live) -> None:
    """Take all steps; fails at the first message that is not the expected one."""
    call, stopping = Call(running.channel, transcript["method"]), None
    for number, step in enumerate(transcript["steps"]):
        if "stop" in step:
            stopping = asyncio.create_task(running.app.stop(step["stop"]["grace_ms"] / 1000))
        elif "server" in step or "status" in step:
            found = await call.answer()
            assert matches(step, found), f"step {number}: expected {json.dumps(step)}, found {json.dumps(found)}"
        else:
            await call.take(step)
    if stopping is not None:
        await stopping


async def record(transcript: dict[str, Any]) -> list[Step]:
    """The steps of a transcript with the messages that the server sends now."""
    steps: list[Step] = []
    async with server(transcript) as running:
        call, stopping = Call(running.channel, transcript["method"]), None
        for step in _ends_of_runs(transcript["steps"]):
            if "stop" in step:
                stopping = asyncio.create_task(running.app.stop(step["stop"]["grace_ms"] / 1000))
            if "server" not in step and "status" not in step:
                steps.append(step)
                if "stop" not in step:
                    await call.take(step)
                continue
            while True:
                found = await call.answer()
                steps.append({kind: with_wildcards(value) for kind, value in found.items()})
                if _is_end(step, found):
                    break
                assert "status" not in found, f"the call ended before {json.dumps(step)}"
        if stopping is not None:
            await stopping
    return steps


def _ends_of_runs(steps: list[Step]) -> Iterator[Step]:
    """The steps of the client, and of each run of server messages the last one."""
    for step, following in zip(steps, [*steps[1:], {}], strict=True):
        if not ("server" in step and ("server" in following or "status" in following)):
            yield step


def _is_end(wanted: Step, found: Step) -> bool:
    """Whether a message is the wanted one: its kind and ids."""
    if "status" in wanted or "status" in found:
        return "status" in wanted and "status" in found
    ((kind, message),), ((found_kind, found_message),) = wanted["server"].items(), found["server"].items()
    return kind == found_kind and all(message[name] == found_message.get(name) for name in IDS if name in message)


def written(transcript: dict[str, Any]) -> str:
    """The text of a file: one step a line."""
    steps = ",\n".join(f"    {json.dumps(step, ensure_ascii=False)}" for step in transcript["steps"])
    head = {name: value for name, value in transcript.items() if name != "steps"}
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}," for name, value in head.items()]
    return "\n".join(["{", *lines, '  "steps": [', steps, "  ]", "}", ""])


def main(chosen: list[str]) -> None:
    """Renew transcripts, all if none is named."""
    for name in chosen or names():
        transcript = load(name)
        transcript["steps"] = asyncio.run(record(transcript))
        (FOLDER / f"{name}.json").write_text(written(transcript), "utf8")


if __name__ == "__main__":
    main(sys.argv[1:])
