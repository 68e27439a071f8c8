"""Chunks of audio over real gRPC: exact lengths where they are asked for, and what each costs beside its audio."""

import sys

import numpy as np
import pytest

from intone.proto import audio_pb2, speech_pb2, voice_pb2
from intone.server.audio.encoding import Encoder, Resampler
from tests.support.fakes import RATE_HZ, Script, ScriptedEngine, audio_of
from tests.support.live_server import chunks, kind_and_message, live, messages_of
from tests.support.voice_server import recording

TELEPHONY = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_MULAW, sample_rate_hz=8000)
TEXT = "Well, hello there my dear friend. It is a fine day, is it not? I think so too, and so do they. Bye"
MAX_OVERHEAD_BYTES = 24
"""Beside the audio of one chunk, with a short id. Before this version of the protocol it was 64 to 83."""


def check_in_order(audio):
    """Chunks are numbered, without gaps, and say how many samples they have."""
    assert [chunk.sequence for chunk in audio] == list(range(len(audio)))
    ends = np.cumsum([chunk.sample_count for chunk in audio])
    assert [chunk.offset_samples for chunk in audio] == [0, *ends[:-1]]


async def said(server, text=TEXT, pauses=None, **config):
    talk = await server.talk(**config)
    await talk.say("u", text)
    return await talk.until("done")


def test_every_chunk_of_telephony_has_20_ms_but_the_last(run):
    async def main():
        async with live(pause_scale=1.0) as server:
            return await said(server, format=TELEPHONY, chunk_ms=20)

    answers = run(main())
    audio = chunks(answers)
    check_in_order(audio)
    assert len(audio) > 200 and {chunk.sample_count for chunk in audio[:-1]} == {160}
    assert all(len(chunk.data) == chunk.sample_count for chunk in audio) and 0 < audio[-1].sample_count <= 160
    assert sum(chunk.sample_count for chunk in audio) == messages_of(answers, "done")[0].sample_count
    spans = [chunk.text_span for chunk in audio if chunk.HasField("text_span")]
    assert len(spans) > 2 and "".join(TEXT[span.start : span.end] for span in spans) == TEXT


@pytest.mark.parametrize(
    ("rate_hz", "chunk_ms", "samples"), [(16_000, 10, 160), (22_050, 20, 441), (22_050, 25, 551), (8000, 1000, 8000)]
)
def test_the_number_of_samples_is_rounded_once(run, rate_hz, chunk_ms, samples):
    async def main():
        async with live() as server:
            audio_format = audio_pb2.AudioFormat(encoding=2, sample_rate_hz=rate_hz)
            return await said(server, format=audio_format, chunk_ms=chunk_ms)

    audio = chunks(run(main()))
    check_in_order(audio)
    assert {chunk.sample_count for chunk in audio[:-1]} == {samples} and audio[-1].sample_count <= samples


def test_exact_chunks_have_the_same_audio(run):
    async def main():
        async with live() as server:
            text = "One unit of some words"
            answers = await said(server, text, format=TELEPHONY, chunk_ms=30)
            expected = Encoder("mulaw").encode(Resampler(RATE_HZ, 8000).push(audio_of(text), last=True))
            assert b"".join(chunk.data for chunk in chunks(answers)) == expected

    run(main())


def test_the_last_chunk_before_flushed_may_be_shorter(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk(format=TELEPHONY, chunk_ms=40)
            await talk.say("u", "abc", end=False)  # 150 ms
            await talk.flush("f")
            answers = await talk.until("flushed")
            assert [chunk.sample_count for chunk in chunks(answers)] == [320, 320, 320, 240]
            await talk.say("u", "d")  # 50 ms
            answers += await talk.until("done")
            assert [chunk.sample_count for chunk in chunks(answers)] == [320, 320, 320, 240, 320, 80]
            check_in_order(chunks(answers))

    run(main())


def test_exact_chunks_hold_fillers_and_pauses_too(run):
    async def main():
        async with live(ScriptedEngine(Script(first_s=0.8)), pause_scale=1.0) as server:
            clip = voice_pb2.FillerClip(text="Hm!", language="en", audio=recording(400))
            await server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="default", clips=[clip]))
            return await said(server, "Hello there. And you, too.", format=TELEPHONY, chunk_ms=20)

    answers = run(main())
    audio = chunks(answers)
    check_in_order(audio)
    assert {chunk.sample_count for chunk in audio[:-1]} == {160}
    assert {chunk.kind for chunk in audio} == {
        speech_pb2.AUDIO_KIND_FILLER,
        speech_pb2.AUDIO_KIND_SILENCE,
        speech_pb2.AUDIO_KIND_SPEECH,
    }
    usage = answers[-1][1].usage
    assert usage.filler_count == 1 and usage.unit_count == 2
    assert abs(usage.speech_ms + usage.filler_ms + usage.pause_ms - answers[-1][1].sample_count / 8) <= 3
    heard = [chunk.filler_text for chunk in audio if chunk.filler_text]
    assert heard == ["Hm!"] and len([chunk for chunk in audio if chunk.HasField("text_span")]) == 2


def test_one_text_in_exact_chunks(run):
    async def main():
        async with live() as server:
            config = speech_pb2.StreamConfig(format=TELEPHONY, chunk_ms=20)
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=TEXT, config=config))
            return [kind_and_message(answer) async for answer in call]

    audio = chunks(run(main()))
    assert {chunk.sample_count for chunk in audio[:-1]} == {160} and len(audio) > 200


def test_the_bytes_of_a_chunk_beside_its_audio(run, capsys):
    async def main():
        async with live(pause_scale=1.0) as server:
            talk = await server.talk(format=TELEPHONY, chunk_ms=20, max_lead_ms=600_000)
            await talk.say("u1", f"{TEXT}. " * 40)
            return await talk.until("done")

    audio = chunks(run(main()))
    wire = [speech_pb2.StreamSynthesizeResponse(audio=chunk).ByteSize() - len(chunk.data) for chunk in audio]
    sizes = f"{min(wire)} to {max(wire)} bytes, {np.mean(wire):.1f} on average"
    with capsys.disabled():
        sys.stdout.write(f"\n{len(audio)} chunks of 20 ms of mu-law, 160 bytes of audio each; beside them {sizes}\n")
    assert len(audio) > 10_000 and max(wire) <= MAX_OVERHEAD_BYTES + 8  # with a text_span: the first chunk of a unit
    plain = [size for size, chunk in zip(wire, audio, strict=True) if not chunk.HasField("text_span")]
    assert max(plain) <= MAX_OVERHEAD_BYTES
