"""Readers and writers always learn how a call ended: real calls that end at random moments."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import grpc

from intone.client import AsyncConversation, AsyncSpeechClient, IntoneError, retry
from tests.support.scripted_responses import audio, configured, respond, started
from tests.support.scripted_server import ScriptedServer, failure_of, proxy, scripted_server

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
    deltas, responses, code = next(requests).config.defaults.voice.split()
    yield configured()
    for _ in range(int(deltas)):
        next(requests, None)
    for index in range(int(responses)):
        yield audio("u1", index - 1) if index else started("u1")
    if code != "OK":
        context.abort(grpc.StatusCode[code], "as planned")


async def send_all(talk: AsyncConversation, pauses_s: list[float]) -> grpc.StatusCode:
    turn = talk.utterance(id="u2")
    try:
        for pause_s in pauses_s:
            await turn.send("text ")
            await asyncio.sleep(pause_s)
        await turn.end()
    except IntoneError as error:
        return error.code
    return OK


async def read_all(talk: AsyncConversation) -> tuple[int, grpc.StatusCode]:
    """The number of responses after `configured`, and the status."""
    count = -1
    try:
        async for _ in talk.events():
            count += 1
    except IntoneError as error:
        return count, error.code
    return count, OK


def test_every_response_and_the_status_arrive_whenever_the_server_ends_the_call(run):
    rng = random.Random(1)

    async def converse(client: AsyncSpeechClient) -> None:
        plan = Plan.draw(rng)
        pauses_s = [rng.choice([0.0, 0.0, 0.001]) for _ in range(DELTAS)]
        async with client.conversation(voice=plan.voice) as talk:
            sending = asyncio.create_task(send_all(talk, pauses_s))
            assert await read_all(talk) == (plan.responses, plan.code), plan
            sent = await sending
        # A sender that has something left to send gets an error also if the call ended with OK.
        assert sent in (OK, plan.code if plan.code is not OK else grpc.StatusCode.FAILED_PRECONDITION), plan

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target, reconnect_s=0) as client:
            for _ in range(50):
                await asyncio.wait_for(asyncio.gather(*(converse(client) for _ in range(8))), TIMEOUT_S)

    with scripted_server(planned) as server:
        run(main(server.target), TIMEOUT_S)
    assert len(server.calls) == 400


def test_speech_is_complete_if_calls_are_lost_before_its_first_audio(run, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    rng = random.Random(2)
    lost: Counter[str] = Counter()

    def script(requests, number, context):
        first = next(requests)
        voice = first.config.defaults.voice
        losses, *after = map(int, voice.split()[1:])
        if lost[voice] < losses:
            lost[voice] += 1
            yield configured()
            for _ in range(after[0]):
                next(requests, None)
            if after[1]:
                yield started("u1")
            context.abort(UNAVAILABLE, "gone")
        yield from respond(chain([first], requests))

    async def say(client: AsyncSpeechClient, index: int) -> None:
        voice = f"{index} {rng.randint(1, 3)} {rng.randint(0, 4)} {rng.randint(0, 1)}"
        speech = await client.say(["one ", "two ", "three "], voice=voice)
        assert len(speech.chunks) == 3

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
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
            AsyncSpeechClient(address, reconnect_s=0) as client,
        ):
            try:
                async with client.conversation() as talk:
                    sending = asyncio.create_task(send_all(talk, [0.0] * DELTAS))
                    ends[(await read_all(talk))[1]] += 1
                    assert await sending in (OK, UNAVAILABLE)
            except IntoneError as error:  # the connection was cut before the conversation started
                ends[error.code] += 1

    async def main(target: str) -> None:
        for _ in range(10):
            await asyncio.wait_for(asyncio.gather(*(converse(target) for _ in range(8))), TIMEOUT_S)

    def script(requests, number, context):
        next(requests)
        yield configured()
        yield started("u1")
        for index, _ in enumerate(requests):
            yield audio("u1", index)
            if index == DELTAS:
                return

    with scripted_server(script) as server:
        run(main(server.target), TIMEOUT_S)
    assert set(ends) <= {OK, UNAVAILABLE} and ends[UNAVAILABLE] > 20, ends


def test_stopping_the_server_ends_every_call(run):
    rng = random.Random(4)

    def script(requests, number, context):
        next(requests)
        yield configured()
        yield started("u1")
        for index in range(1_000_000):
            yield audio("u1", index)

    async def main(server: ScriptedServer) -> list[Any]:
        async with AsyncSpeechClient(server.target, reconnect_s=0) as client:

            async def converse() -> tuple[grpc.StatusCode, grpc.StatusCode]:
                async with client.conversation() as talk:
                    sending = asyncio.create_task(send_all(talk, [0.002] * 1000))
                    return (await read_all(talk))[1], await sending

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
        async with AsyncSpeechClient(target) as client:
            for _ in range(50):
                uploads = [failure_of(client.voices.create(recording, str(rng.randint(0, 4)))) for _ in range(8)]
                for error in await asyncio.wait_for(asyncio.gather(*uploads), TIMEOUT_S):
                    assert str(error) == "ALREADY_EXISTS: there is one of that name"

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)
