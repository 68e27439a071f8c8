"""Many utterances at once on one conversation: each gets its own audio, and nothing hangs."""

import asyncio
import random
from collections import Counter

import pytest

from intone.client import AsyncConversation, AsyncSpeechClient, AsyncUtterance, Done, Event
from tests.support.scripted_responses import CHUNK_SAMPLES, level_of
from tests.support.scripted_server import scripted_server

TIMEOUT_S = 600.0  # against hanging; a loaded machine is slow
ROUND_TIMEOUT_S = 60.0
SPEAKING = 2
SENDING = 6


def pcm_of(utterance: AsyncUtterance, chunks: int) -> bytes:
    return int(level_of(utterance.id) * 32767).to_bytes(2, "little") * CHUNK_SAMPLES * chunks


async def read(turn: AsyncUtterance, rng: random.Random) -> bytes:
    heard = b""
    async for pcm in turn.audio():
        heard += pcm
        await asyncio.sleep(rng.choice([0, 0, 0.001]))
    return heard


async def send(turn: AsyncUtterance, words: list[str]) -> None:
    for word in words:
        await turn.send(word)
        await asyncio.sleep(0)
    await turn.end()


async def one_round(talk: AsyncConversation, rng: random.Random) -> None:
    """Two utterances are spoken, six are sent by hand, and one of the eight is interrupted at a random moment."""
    numbers = rng.sample(range(10, 99), SPEAKING + SENDING)
    turns = [talk.utterance(id=f"s{number}") for number in numbers]
    words = {turn: [f"{turn.id} "] * rng.randint(1, 6) for turn in turns}
    stopped = rng.choice(turns)

    async def interrupt() -> None:
        for _ in range(rng.randint(0, 20)):
            await asyncio.sleep(0)
        if rng.random() < 0.5:
            cuts = await talk.interrupt(stopped)
        else:
            cut = await stopped.interrupt()
            cuts = (cut,) if cut is not None else ()
        assert {cut.utterance_id for cut in cuts} <= {stopped.id}

    for turn in turns[:SPEAKING]:
        turn.speak(words[turn])
    sending = [send(turn, words[turn]) for turn in turns[SPEAKING:]]
    reading = [read(turn, rng) for turn in turns]
    *_, heard = await asyncio.gather(*sending, interrupt(), asyncio.gather(*reading))
    for turn, pcm in zip(turns, heard, strict=True):
        done = await turn.done()
        assert all(getattr(event, "utterance_id", turn.id) == turn.id for event in turn.speech.events)
        if turn is stopped:
            assert done.reason in ("completed", "interrupted")
            assert pcm_of(turn, len(words[turn])).startswith(pcm)
        else:
            assert done.reason == "completed"
            assert pcm == pcm_of(turn, len(words[turn])) == turn.speech.pcm


async def rounds(target: str, count: int) -> None:
    rng = random.Random(6)
    async with AsyncSpeechClient(target) as client:
        for number in range(count):
            async with client.conversation() as talk:
                await asyncio.wait_for(one_round(talk, rng), ROUND_TIMEOUT_S)
                assert talk.notices == (), number
                await talk.finish(ROUND_TIMEOUT_S)


def test_two_speak_six_send_and_one_is_interrupted(run):
    with scripted_server() as server:
        run(rounds(server.target, 50), TIMEOUT_S)


@pytest.mark.slow
def test_two_speak_six_send_and_one_is_interrupted_a_thousand_times(run):
    with scripted_server() as server:
        run(rounds(server.target, 1000), TIMEOUT_S)


async def one_real_round(client: AsyncSpeechClient, rng: random.Random) -> None:
    """Eight utterances and up to three interruptions, of one, of some or of all of them, at random moments."""
    dones: Counter[str] = Counter()

    def count(event: Event) -> None:
        if isinstance(event, Done):
            dones[event.utterance_id] += 1

    async def interrupt() -> None:
        for _ in range(rng.randint(1, 3)):
            await asyncio.sleep(0.3 * rng.random())
            chosen = rng.choice([0, 1, 3])
            await talk.interrupt(*rng.sample(turns, chosen))

    async with client.conversation(on_event=count, service_class=rng.choice(["live", "offline"])) as talk:
        turns = [talk.utterance() for _ in range(SPEAKING + SENDING)]
        for turn in turns[:SPEAKING]:
            turn.speak("Hello there, how are you?")
        sending = [send(turn, rng.choices(["Yes, ", "this is ", "it. "], k=rng.randint(0, 6))) for turn in turns[2:]]
        reading = [read(turn, rng) for turn in turns]
        await asyncio.wait_for(asyncio.gather(interrupt(), *sending, *reading), ROUND_TIMEOUT_S)
        for turn in turns:
            done = await turn.done()
            assert done.reason in ("completed", "empty", "interrupted")
            assert done.sample_count == sum(chunk.sample_count for chunk in turn.speech.chunks)
            if turn.cut is not None:
                assert 0 <= turn.cut.heard_samples <= done.sample_count
                assert turn.cut.heard_text + turn.cut.unheard_text == turn.speech.text
        await talk.finish(ROUND_TIMEOUT_S)
        assert dones == Counter(turn.id for turn in turns)


@pytest.mark.slow
def test_random_interruptions_on_a_real_server(run, server_address: str):
    async def main() -> None:
        rng = random.Random(7)
        async with AsyncSpeechClient(server_address) as client:
            for _ in range(10):
                await one_real_round(client, rng)

    run(main(), TIMEOUT_S)
