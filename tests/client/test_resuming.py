"""Conversations over connections that are lost: nothing is missing, nothing comes twice."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from intone.client import AsyncSpeechClient, AudioChunk, Closed, Configured, Done, Event, Interrupted, Unavailable
from intone.client import retry as retry_module
from tests.support.chaos_proxy import ChaosProxy, chaos_proxy
from tests.support.fakes import RATE_HZ, Script, ScriptedEngine, audio_of, text_of
from tests.support.live_server import Live, live, soon
from tests.support.scripted_server import failure_of

F32: dict[str, Any] = {"encoding": "pcm_f32le", "sample_rate_hz": RATE_HZ}
TEXTS = [
    f"This is the {ordinal} answer of a long talk about bad networks. "
    for ordinal in ["first", "next", "third", "last"] * 3
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(retry_module, "FIRST_PAUSE_S", 0.005)


def server_of(running: Live) -> str:
    return f"127.0.0.1:{running.app.port}"


def shape(events: list[Event]) -> list[tuple[type, str]]:
    """Kinds and ids of events in order, without audio, whose chunks may be cut differently."""
    return [(type(event), getattr(event, "utterance_id", "")) for event in events if not isinstance(event, AudioChunk)]


async def talk_through(client: AsyncSpeechClient, rng: random.Random) -> tuple[list[Event], dict[str, bytes]]:
    """Several utterances, their text in pieces: all events, and the audio of each utterance."""
    seen: list[Event] = []
    async with client.conversation(on_event=seen.append, service_class="offline", **F32) as talk:
        turns = []
        for text in TEXTS:
            turn = talk.utterance()
            turns.append(turn)
            while text:
                size = rng.randint(1, 9)
                await turn.send(text[:size])
                text = text[size:]
            await turn.end()
        for turn in turns:
            await turn.done()
        await talk.finish()
        return seen, {turn.id: turn.speech.pcm for turn in turns}


def test_a_conversation_that_is_cut_a_hundred_times_is_the_same_as_one_that_is_not(run):
    async def main() -> None:
        async with live(ScriptedEngine()) as running, chaos_proxy(server_of(running), seed=1) as proxy:
            async with AsyncSpeechClient(proxy.target) as client:
                expected, expected_audio = await talk_through(client, random.Random(1))
            proxy.cut_after = (600, 30_000)
            async with AsyncSpeechClient(proxy.target) as client:
                found, found_audio = await talk_through(client, random.Random(2))
            assert proxy.cuts > 100
            assert found_audio == expected_audio
            assert written(text_of_pcm(b"".join(found_audio.values()))) == written("".join(TEXTS))
            first = 0
            while type(found[first + 1]) is Configured:  # lost before anything sounded, and opened anew
                first += 1
            assert shape(found[first:]) == shape(expected)
            await soon(lambda: running.idle, "the server is idle")

    run(main(), 120.0)


def written(text: str) -> str:
    """Without the spaces, which are not spoken between units."""
    return text.replace(" ", "")


def text_of_pcm(pcm: bytes) -> str:
    return text_of(np.frombuffer(pcm, "<f4"))


def test_interruptions_are_answered_once_over_lost_connections(run):
    async def main() -> None:
        async with live(ScriptedEngine()) as running, chaos_proxy(server_of(running), seed=2) as proxy:
            seen: list[Event] = []
            async with (
                AsyncSpeechClient(proxy.target) as client,
                client.conversation(on_event=seen.append, max_lead_ms=400, **F32) as talk,
            ):
                for number in range(12):
                    turn = talk.utterance().speak("A long answer that nobody will hear to its end, not even once.")
                    await anext(turn.audio())
                    proxy.reset()
                    cut = await turn.interrupt()
                    assert cut is not None and cut.heard_text + cut.unheard_text == turn.speech.text
                    proxy.reset()
                    assert (await turn.done()).reason == "interrupted", number
                await talk.finish()
            assert sum(isinstance(event, Interrupted) for event in seen) == 12
            assert [event.utterance_id for event in seen if isinstance(event, Done)] == [f"u{n}" for n in range(1, 13)]
            assert [type(event) for event in seen if isinstance(event, Configured | Closed)] == [Configured, Closed]

    run(main(), 60.0)


def test_a_server_that_has_the_stream_no_more_ends_the_conversation_with_words(run):
    async def main() -> None:
        async with (
            live(ScriptedEngine(), resume_s=0.05) as running,
            chaos_proxy(server_of(running)) as proxy,
            AsyncSpeechClient(proxy.target) as client,
            client.conversation(**F32) as talk,
        ):
            turn = talk.utterance()
            await turn.send("Hello there, this is heard. ")
            await anext(turn.audio())
            proxy.flowing.clear()
            proxy.reset()
            await soon(lambda: running.idle, "the stream has ended")
            proxy.flowing.set()
            assert isinstance(await failure_of(turn.done()), Unavailable)

    run(main())


def test_a_stream_that_has_not_sounded_is_opened_anew_when_it_is_held_no_more(run):
    engine = ScriptedEngine(Script(first_s=0.3))

    async def main() -> None:
        async with live(engine, resume_s=0) as running, chaos_proxy(server_of(running)) as proxy:
            async with AsyncSpeechClient(proxy.target) as client, client.conversation(**F32) as talk:
                first = talk.configured.stream_id
                turn = talk.utterance().speak("Hello there.")
                await soon(lambda: running.jobs > 0, "the unit is begun")
                proxy.reset()
                await turn.done()
                assert turn.speech.pcm == audio_of("Hello there.").tobytes()
                assert talk.configured.stream_id != first
            await soon(lambda: running.idle, "the server is idle")

    run(main())


def test_closing_a_conversation_frees_its_place(run):
    async def main() -> None:
        async with live(ScriptedEngine(), resume_s=600) as running, AsyncSpeechClient(server_of(running)) as client:
            async with client.conversation(**F32) as talk:
                turn = talk.utterance().speak("A long answer that nobody will hear to its end, not even once.")
                await anext(turn.audio())
            await soon(lambda: running.idle, "its place is free")

    run(main())


@pytest.mark.parametrize("fault", ["delay", "throttle", "stall", "half-close"])
def test_bad_networks_lose_nothing(run, fault):
    async def trouble(proxy: ChaosProxy) -> None:
        if fault == "delay":
            proxy.delay_s = 0.005
        if fault == "throttle":
            proxy.bytes_per_s = 200_000
        for _ in range(4):
            await asyncio.sleep(0.1)
            if fault == "stall":
                proxy.flowing.clear()
                await asyncio.sleep(0.1)
                proxy.flowing.set()
            if fault == "half-close":
                proxy.half_close()

    async def main() -> None:
        async with (
            live(ScriptedEngine()) as running,
            chaos_proxy(server_of(running)) as proxy,
            AsyncSpeechClient(proxy.target) as client,
        ):
            troubling = asyncio.create_task(trouble(proxy))
            speech = await client.say(TEXTS[:3], **F32)
            assert written(text_of(speech.samples)) == written("".join(TEXTS[:3]))
            await troubling

    run(main(), 60.0)
