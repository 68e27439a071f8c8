"""The first lines that a user of the library writes, against a scripted server."""

import asyncio
import builtins
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import intone.client
from intone.client import (
    AsyncSpeechClient,
    AsyncUtterance,
    AudioPosition,
    Format,
    NotFound,
    PlaybackBuffer,
    Player,
    SpeechClient,
    SpeechSettings,
    report_playback,
)
from intone.client.conversation import REPORT_INTERVAL_S
from tests.support.scripted_responses import CHUNK_SAMPLES, RATE_HZ
from tests.support.scripted_server import scripted_server

LEVEL = int(0.5 * 32767).to_bytes(2, "little")


def test_what_a_library_prints_while_a_sound_device_is_opened_is_not_shown(monkeypatch, capfd):
    """Only our reason is; ALSA writes dozens of lines where there is no sound card."""
    miniaudio = pytest.importorskip("miniaudio")

    def refuse(**arguments):
        os.write(2, b"ALSA lib confmisc.c: cannot find card '0'\n")
        raise miniaudio.MiniaudioError("failed to init device", -401)

    monkeypatch.setattr(miniaudio, "PlaybackDevice", refuse)
    with pytest.raises(OSError, match="no sound device can be opened"):
        Player(Format("pcm_s16le", 24_000))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


async def llm_tokens():
    for token in ("Hel", "lo ", "there."):
        await asyncio.sleep(0)
        yield token


def test_stream_the_tokens_of_a_language_model_as_pcm(run, monkeypatch):
    async def main() -> bytes:
        heard = b""
        async with AsyncSpeechClient() as client:
            async for pcm in client.stream(llm_tokens(), voice="ada", sample_rate_hz=8000, chunk_ms=20):
                heard += pcm
        return heard

    with scripted_server(token="secret") as server:
        monkeypatch.setenv("INTONE_SERVER", server.target)
        monkeypatch.setenv("INTONE_TOKEN", "secret")
        assert run(main()) == LEVEL * 3 * CHUNK_SAMPLES
    config = server.calls[0][0].config
    assert (config.defaults.voice, config.format.sample_rate_hz, config.chunk_ms) == ("ada", 8000, 20)


def test_a_conversation_whose_utterance_is_interrupted(run):
    player = PlaybackBuffer()

    async def main(target: str) -> None:
        client = AsyncSpeechClient(target)
        async with client.conversation(timeout_s=5) as talk:
            assert talk.configured.format.sample_rate_hz == RATE_HZ
            turn = talk.utterance(emotion="happy")
            await turn.send("Hello ")
            await turn.end()
            async for pcm in turn.audio():
                player.write(turn.id, talk.configured.format.decode(pcm))
            player.take(100)
            assert await turn.interrupt(player.position) is None  # all of it was sent and nothing is left to stop
            other = talk.utterance()
            await other.send("Never mind, ")
            assert await anext(aiter(other.audio()))
            cut = await other.interrupt(AudioPosition(other.id, 40))
            assert cut is not None
            assert (cut.heard_text, cut.unheard_text, cut.heard_samples) == ("Ne", "ver mind, ", 40)
            assert (cut.source, other.cut, await other.interrupt()) == ("reported", cut, None)
            assert (await other.done()).reason == "interrupted"
        await client.aclose()

    with scripted_server() as server:
        run(main(server.target))
    assert player.position == AudioPosition("u1", 100)


def test_say_and_save(run, tmp_path: Path):
    path = tmp_path / "hi.wav"

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            (await client.say("Hi.", speed=1.2, settings=None)).save(path)

    with scripted_server() as server:
        run(main(server.target))
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.readframes(file.getnframes())) == (RATE_HZ, LEVEL * CHUNK_SAMPLES)
    assert round(server.calls[0][0].config.defaults.speed, 6) == 1.2


def test_the_same_without_asyncio(tmp_path: Path):
    def tokens():
        yield from ("Hel", "lo ", "there.")

    with scripted_server() as server, SpeechClient(server.target) as client:
        assert b"".join(client.stream(tokens(), voice="ada")) == LEVEL * 3 * CHUNK_SAMPLES
        client.say("Hi.").save(tmp_path / "hi.wav")
        with client.conversation(timeout_s=5) as talk:
            turn = talk.utterance(SpeechSettings(emotion="happy")).speak(["One ", "two."])
            other = talk.utterance().speak("Three.")
            assert b"".join(turn.audio()) == LEVEL * 2 * CHUNK_SAMPLES
            assert [type(event).__name__ for event in other.events()] == ["Started", "AudioChunk", "Done"]
            assert turn.done().reason == "completed"
            assert talk.interrupt() == ()
            assert talk.finish().speech_ms == 100
    assert (tmp_path / "hi.wav").stat().st_size > 2 * CHUNK_SAMPLES


def test_a_program_that_closes_nothing_ends():
    program = """
import sys
from intone.client import SpeechClient
client = SpeechClient(sys.argv[1])
audio = client.stream("one two")
print(len(next(audio)))
talk = client.conversation().open()
"""
    with scripted_server() as server:
        command = [sys.executable, "-c", program, server.target]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{2 * CHUNK_SAMPLES}\n", "")


def test_playback_is_reported_while_it_lasts(run):
    player = PlaybackBuffer()

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            async with report_playback(talk, lambda: player.position):
                await asyncio.sleep(1.5 * REPORT_INTERVAL_S)  # nothing was played: nothing is reported
                player.write("u1", np.zeros(100, np.float32))
                player.take(60)
                await asyncio.sleep(2.5 * REPORT_INTERVAL_S)  # the same position is reported once
            await talk.flush()

    with scripted_server() as server:
        run(main(server.target))
    _, playback, flush = server.calls[0]
    played = playback.playback.played
    assert (played.utterance_id, played.sample, flush.HasField("flush")) == ("u1", 60, True)


@pytest.mark.slow
def test_the_first_lines_on_a_real_server(run, server_address: str, tmp_path: Path):
    async def main() -> None:
        async with AsyncSpeechClient(server_address) as client:
            sizes = [
                len(pcm)
                async for pcm in client.stream(llm_tokens(), sample_rate_hz=8000, encoding="mulaw", chunk_ms=20)
            ]
            assert set(sizes[:-1]) == {160}
            with pytest.raises(NotFound) as refused:
                await client.conversation(voice="nobody").open()
            assert (refused.value.reason, refused.value.field) == ("VOICE_NOT_FOUND", "config.defaults.voice")
            async with client.conversation(timeout_s=5) as talk:
                one, two = talk.utterance().speak(llm_tokens()), talk.utterance().speak("Another one.")
                sizes = await asyncio.gather(size_of(one), size_of(two))
                samples = [(await turn.done()).sample_count for turn in (one, two)]
                assert sizes == [2 * count for count in samples] and min(sizes) > 0
                never = talk.utterance()
                assert await never.interrupt() is None
                assert (await never.done(timeout_s=5)).reason == "interrupted"
                late = talk.utterance()
                await late.send("This is not over")
                await late.flush(timeout_s=20)
                cut = await late.interrupt()
                assert cut is not None
                assert cut.heard_text + cut.unheard_text == "This is not over"
                assert (await talk.finish(timeout_s=20)).characters == len("Hello there.Another one.This is not over")
            (await client.say("Hi.")).save(tmp_path / "hi.wav")

    run(main(), 60)
    assert (tmp_path / "hi.wav").stat().st_size > 1000


async def size_of(turn: AsyncUtterance) -> int:
    return sum([len(pcm) async for pcm in turn.audio()])


def test_no_exported_name_shadows_a_builtin():
    exported: dict[str, object] = {}
    exec("from intone.client import *", exported)
    exported.pop("__builtins__")
    assert not set(exported) & set(dir(builtins))
    assert set(exported) == set(intone.client.__all__)
    assert {"Player", "PlaybackBuffer", "WavWriter", "parse_emotion", "EmotionLike", "TextLike", "Voices"} <= set(
        exported
    )
