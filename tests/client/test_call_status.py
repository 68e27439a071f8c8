"""Readers and writers always learn how a call ended: real calls that end at random moments."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import grpc

from intone.client import Conversation, IntoneCallError, SpeechClient, conversation
from tests.support.scripted_server import ScriptedServer, audio, failure_of, proxy, respond, scripted_server, started

OK, CANCELLED, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE
TIMEOUT_S = 120.0  # against hanging; a loaded machine is slow
DELTAS = 6


@dataclass(frozen=True)
class Plan:
    """How the server ends a call: after receiving some deltas and sending some responses. Sent as the voice's name."""

    deltas: int
    responses: int
    code: grpc.StatusCode

    @staticmethod
    def draw(rng: random.Random) -> "Plan":
        codes = (OK, UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
        return Plan(rng.randint(0, DELTAS), rng.randint(0, 7), rng.choice(codes))

    @property
    def voice(self) -> str:
        return f"{self.deltas} {self.responses} {self.code.name}"


def planned(requests: Any, number: int, context: Any) -> Any:
    deltas, responses, code = next(requests).config.voice.split()
    for _ in range(int(deltas)):
        next(requests, None)
    for index in range(int(responses)):
        yield audio("u", index) if index else started("u")
    if code != "OK":
        context.abort(grpc.StatusCode[code], "as planned")


async def send_all(conversing: Conversation, pauses_s: list[float]) -> grpc.StatusCode:
    try:
        for pause_s in pauses_s:
            await conversing.send("text ", "u")
            await asyncio.sleep(pause_s)
        await conversing.end("u")
    except IntoneCallError as error:
        return error.code
    return OK


async def read_all(conversing: Conversation, pause_s: float = 0.0) -> tuple[int, grpc.StatusCode]:
    count = 0
    try:
        async for _ in conversing:
            count += 1
            await asyncio.sleep(pause_s)
    except IntoneCallError as error:
        return count, error.code
    return count, OK


def test_every_response_and_the_status_arrive_whenever_the_server_ends_the_call(run):
    rng = random.Random(1)

    async def converse(client: SpeechClient) -> None:
        plan = Plan.draw(rng)
        reads_first, pause_s = rng.random() < 0.5, rng.choice([0.0, 0.001])
        pauses_s = [rng.choice([0.0, 0.0, 0.001]) for _ in range(DELTAS)]
        async with client.converse(voice=plan.voice) as conversing:
            sending = asyncio.create_task(send_all(conversing, pauses_s))
            if not reads_first:
                await asyncio.wait({sending})
            assert await read_all(conversing, pause_s) == (plan.responses, plan.code), plan
            sent = await sending
        # A sender that has something left to send gets an error also if the call ended with OK.
        assert sent in (OK, plan.code if plan.code is not OK else grpc.StatusCode.FAILED_PRECONDITION), plan

    async def main(target: str) -> None:
        async with SpeechClient(target, reconnects=0) as client:
            for _ in range(50):
                await asyncio.wait_for(asyncio.gather(*(converse(client) for _ in range(8))), TIMEOUT_S)

    with scripted_server(planned) as server:
        run(main(server.target), TIMEOUT_S)
    assert len(server.calls) == 400


def test_speech_is_complete_if_calls_are_lost_before_its_first_audio(run, monkeypatch):
    monkeypatch.setattr(conversation, "_FIRST_RECONNECT_PAUSE_S", 0.001)
    rng = random.Random(2)
    lost: Counter[str] = Counter()

    def script(requests, number, context):
        first = next(requests)
        losses, *after = map(int, first.config.voice.split()[1:])
        if lost[first.config.voice] < losses:
            lost[first.config.voice] += 1
            for _ in range(after[0]):
                next(requests, None)
            if after[1]:
                yield started("u1")
            context.abort(UNAVAILABLE, "gone")
        yield from respond(chain([first], requests))

    async def say(client: SpeechClient, index: int) -> None:
        voice = f"{index} {rng.randint(1, 3)} {rng.randint(0, 4)} {rng.randint(0, 1)}"
        speech = await client.say(["one ", "two ", "three "], voice=voice)
        assert len(speech.chunks) == 3

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            for round_ in range(15):
                says = [say(client, 8 * round_ + index) for index in range(8)]
                await asyncio.wait_for(asyncio.gather(*says), TIMEOUT_S)

    with scripted_server(script) as server:
        run(main(server.target), TIMEOUT_S)
    assert len(server.calls) == 120 + sum(lost.values()) > 240


def test_a_connection_cut_at_any_moment_is_unavailable(run):
    rng = random.Random(3)
    ends: Counter[grpc.StatusCode] = Counter()

    async def converse(target: str) -> None:
        async with (
            proxy(target, cut_after=rng.randint(0, 30_000)) as address,
            SpeechClient(address, reconnects=0) as client,
        ):
            try:
                async with client.converse() as conversing:
                    sending = asyncio.create_task(send_all(conversing, [0.0] * DELTAS))
                    ends[(await read_all(conversing))[1]] += 1
                    assert await sending in (OK, UNAVAILABLE)
            except IntoneCallError as error:  # the connection was cut before the conversation started
                ends[error.code] += 1

    async def main(target: str) -> None:
        for _ in range(10):
            await asyncio.wait_for(asyncio.gather(*(converse(target) for _ in range(8))), TIMEOUT_S)

    def script(requests, number, context):
        next(requests)
        yield started("u")
        for index, _ in enumerate(requests):
            yield audio("u", index)
            if index == DELTAS:
                return

    with scripted_server(script) as server:
        run(main(server.target), TIMEOUT_S)
    assert set(ends) <= {OK, UNAVAILABLE} and ends[UNAVAILABLE] > 20, ends


def test_stopping_the_server_ends_every_call(run):
    rng = random.Random(4)

    def script(requests, number, context):
        next(requests)
        yield started("u")
        for index in range(1_000_000):
            yield audio("u", index)

    async def main(server: ScriptedServer) -> list[Any]:
        async with SpeechClient(server.target, reconnects=0) as client:

            async def converse() -> tuple[grpc.StatusCode, grpc.StatusCode]:
                async with client.converse() as conversing:
                    sending = asyncio.create_task(send_all(conversing, [0.002] * 1000))
                    return (await read_all(conversing))[1], await sending

            conversations = [asyncio.create_task(converse()) for _ in range(6)]
            await asyncio.sleep(rng.random() / 20)
            server.stop()
            return await asyncio.wait_for(asyncio.gather(*conversations, return_exceptions=True), TIMEOUT_S)

    for _ in range(5):
        with scripted_server(script) as server:
            ends = run(main(server), TIMEOUT_S)
        codes = {getattr(end, "code", end) for end in ends}
        assert codes <= {UNAVAILABLE, CANCELLED, (UNAVAILABLE, UNAVAILABLE), (CANCELLED, CANCELLED)}, ends


def test_an_upload_refused_at_any_moment_gets_the_reason(run, tmp_path: Path, monkeypatch):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(300_000))
    rng = random.Random(5)

    def refuse(self, request_iterator, context):
        for _ in range(int(next(request_iterator).config.name)):
            next(request_iterator, None)
        context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one of that name")

    monkeypatch.setattr(ScriptedServer, "CreateVoice", refuse)

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            for _ in range(50):
                uploads = [failure_of(client.voices.create(recording, str(rng.randint(0, 4)))) for _ in range(8)]
                for error in await asyncio.wait_for(asyncio.gather(*uploads), TIMEOUT_S):
                    assert str(error) == "ALREADY_EXISTS: there is one of that name"

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)
