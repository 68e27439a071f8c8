"""The client library against a scripted server over real gRPC."""

import asyncio
import shutil
import struct
import subprocess
import wave
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2
from scripted_server import (
    CHUNK_SAMPLES,
    RATE_HZ,
    Response,
    abort,
    audio,
    done,
    refusal,
    scripted_server,
    started,
    talk,
)

from intone.client import (
    Audio,
    Done,
    Error,
    Flushed,
    Format,
    Interrupted,
    IntoneCallError,
    Options,
    Sent,
    Speech,
    SpeechClient,
    Started,
    TextSpan,
    Trace,
    Warning,
    speak,
    tls,
)
from intone.client.audio import ENCODINGS
from intone.client.events import Report
from intone.client.latency import Stall, measure, simulate_playback
from intone.client.picture import draw_timeline
from intone.client.playback import PlaybackBuffer, Player
from intone.client.settings import parse_emotion
from intone.client.wav import WavWriter, write_wav
from intone.proto import emotion_pb2, speech_pb2

S16 = Format("pcm_s16le", 1000)


# ---- talking ---------------------------------------------------------------------------------------------------------


def test_say_gives_every_sample_every_event_and_both_reports(run):
    async def main(target: str) -> Speech:
        async with SpeechClient(target) as client:
            return await client.say(["Hello ", "there."], engine="starter", options=Options(seed=3))

    with scripted_server() as server:
        speech = run(main(server.target))
    assert [type(event) for event in speech.events] == [Started, Audio, Audio, Done]
    assert (speech.text, speech.sample_rate_hz) == ("Hello there.", RATE_HZ)
    expected = np.full(2 * CHUNK_SAMPLES, int(0.5 * 32767) / 32768, np.float32)
    assert len(speech.samples) == len(expected)
    assert np.abs(speech.samples - expected).max() == 0
    assert speech.chunks[1].text_span == TextSpan(0, 1)
    assert dict(speech.report.stage_ms) == {"lm": 20.0, "vae": 5.0}
    assert speech.report.filler_ttfa_ms is None
    assert 0 < speech.latency.ttfa_ms <= speech.latency.gaps_ms[0] + speech.latency.first_chunk_ms
    config = server.calls[0][0].config
    assert (config.engine, config.options.seed, config.lead_limit_ms) == (4, 3, 600_000)
    assert not config.options.HasField("steps")


def test_text_is_heard_while_it_is_being_written(run):
    async def main(target: str) -> list[str]:
        heard = asyncio.Event()
        order: list[str] = []

        async def words():
            yield "One "
            await heard.wait()  # the next word is not written before the first is heard
            order.append("written")
            yield "two."

        async with SpeechClient(target) as client, client.converse() as conversation:
            async with aclosing(speak(conversation, words(), "u")) as events:
                async for event in events:
                    if isinstance(event, Audio):
                        order.append("heard")
                        heard.set()
        return order

    with scripted_server() as server:
        assert run(main(server.target)) == ["heard", "written", "heard"]


def test_long_texts_go_out_in_pieces_that_join_to_the_whole(run):
    text = "".join(chr(97 + index % 26) for index in range(1234))

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server:
        run(main(server.target))
    pieces = [request.text.delta for request in server.calls[0][1:]]
    assert max(map(len, pieces)) == 500
    assert "".join(pieces) == text


def test_conversation_of_several_utterances_flush_cancel_and_end(run):
    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse(voice="ada", emotion="happy:0.5") as conversation:
            await conversation.send("one", "u1", emotion="sad", options=Options(steps=4))
            await conversation.flush("f1")
            await conversation.cancel("u1", played_ms=40)
            await conversation.progress(40)
            await conversation.send("two", "u2", voice="eve", end=True)
            await conversation.finish()
            with pytest.raises(RuntimeError):
                await conversation.send("three", "u3")
            return [event async for event in conversation]

    with scripted_server() as server:
        events = run(main(server.target))
    kinds = [type(event) for event in events]
    assert kinds == [Started, Audio, Flushed, Interrupted, Started, Audio, Done]
    assert events[2].flush_id == "f1"
    assert (events[3].heard_text, events[3].unheard_text, events[3].heard_ms) == ("so", "one", 40)
    config, first, _, _, progress, second = server.calls[0]
    assert (config.config.voice, config.config.emotion.label) == ("ada", emotion_pb2.EMOTION_LABEL_HAPPY)
    assert (first.text.emotion.label, first.text.options.steps) == (emotion_pb2.EMOTION_LABEL_SAD, 4)
    assert progress.progress.played_ms == 40
    assert (second.text.voice, second.text.end_of_utterance) == ("eve", True)


def test_warnings_and_unknown_messages(run):
    def script(requests, number, context):
        next(requests)
        yield Response()  # only a newer client knows it
        yield Response(
            warning=speech_pb2.Warning(
                code=speech_pb2.WARNING_CODE_UNTRAINED_WEIGHTS, message="noise", utterance_id="u1"
            )
        )
        yield Response(warning=speech_pb2.Warning(code=777, message="from the future"))

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse() as conversation:
            return [event async for event in conversation]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert [(event.code, event.message, event.utterance_id) for event in events] == [
        ("untrained_weights", "noise", "u1"),
        ("777", "from the future", ""),
    ]
    assert all(isinstance(event, Warning) for event in events)


def test_failing_text_source_cancels_its_utterance_and_nothing_else(run):
    async def main(target: str) -> list[object]:
        async def broken():
            yield "one"
            raise KeyError("the language model is gone")

        async with SpeechClient(target) as client, client.converse() as conversation:
            with pytest.raises(KeyError):
                async with aclosing(speak(conversation, broken(), "u1")) as events:
                    async for _ in events:
                        pass
            async with aclosing(speak(conversation, "two", "u2")) as events:
                return [event async for event in events]

    with scripted_server() as server:
        events = run(main(server.target))
    assert isinstance(events[-1], Done)
    assert [request.WhichOneof("request") for request in server.calls[0]][:3] == ["config", "text", "cancel"]


def test_rejected_utterance_stops_its_sender_and_keeps_the_conversation(run):
    async def main(target: str) -> tuple[list[object], list[object]]:
        async def endless():
            yield "bad"
            await asyncio.Event().wait()

        async with SpeechClient(target) as client, client.converse() as conversation:
            async with aclosing(speak(conversation, endless(), "u1")) as events:
                first = [event async for event in events]
            async with aclosing(speak(conversation, "two", "u2")) as events:
                return first, [event async for event in events]

    with scripted_server() as server:
        first, second = run(main(server.target))
    assert first[0].reason == "rejected"
    assert first[0].error.violations == [("text.delta", "cannot be spoken")]
    assert second[-1].reason == "completed"


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_errors_carry_code_words_fields_and_pause(run):
    def script(requests, number, context):
        next(requests)
        abort(context, refusal("config.voice", "unknown", code_pb2.RESOURCE_EXHAUSTED, retry_s=1.5))
        yield

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say("Hello.")

    with scripted_server(script) as server, pytest.raises(IntoneCallError) as caught:
        run(main(server.target))
    error = caught.value
    assert (error.code, error.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no good")
    assert (error.violations, error.retry_after_s) == ([("config.voice", "unknown")], 1.5)
    assert str(error) == "RESOURCE_EXHAUSTED: no good (config.voice: unknown)"
    assert len(server.calls) == 1  # not tried again


def test_refused_message_is_an_event(run):
    async def main(target: str) -> object:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation._send(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig()))
            return await anext(conversation)

    with scripted_server() as server:
        event = run(main(server.target))
    assert isinstance(event, Error)
    assert (event.error.code, event.error.violations) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        [("config", "only once")],
    )


def test_say_raises_why_it_was_not_spoken(run):
    async def main(target: str, text: str) -> None:
        async with SpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server, pytest.raises(IntoneCallError, match="text.delta: cannot be spoken"):
        run(main(server.target, "bad"))

    def silent(requests, number, context):
        next(requests)
        yield started("u1")

    with scripted_server(silent) as server, pytest.raises(IntoneCallError, match="cut off"):
        run(main(server.target, "Hello."))


def test_audio_before_started_is_the_servers_fault(run):
    def script(requests, number, context):
        next(requests)
        yield audio("u1", 0)

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say("Hello.")

    with scripted_server(script) as server, pytest.raises(IntoneCallError) as caught:
        run(main(server.target))
    assert caught.value.code is grpc.StatusCode.INTERNAL


def test_unknown_settings_are_refused_before_any_call():
    client = SpeechClient("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="async with"):
        client.converse()

    async def main() -> None:
        async with client:
            with pytest.raises(TypeError):
                client.converse(colour="red")
            with pytest.raises(ValueError, match="auto, voxcpm, indextts, starter"):
                client.converse(engine="espeak")
            with pytest.raises(ValueError, match="pcm_s16le"):
                client.converse(encoding="mp3")

    asyncio.run(main())


# ---- lost calls ------------------------------------------------------------------------------------------------------


def test_call_lost_before_any_audio_is_opened_again_with_everything_sent(run):
    def script(requests, number, context):
        if number < 2:
            for request in requests:
                if request.text.delta == "two":
                    yield started("u1")
                    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        yield from talk(requests)

    async def main(target: str) -> Speech:
        async with SpeechClient(target) as client:
            return await client.say(["one", "two"], voice="ada")

    with scripted_server(script) as server:
        speech = run(main(server.target))
    assert len(server.calls) == 3
    assert server.calls[2][0].config.voice == "ada"
    last = [request.text for request in server.calls[2][1:]]
    assert [(text.delta, text.end_of_utterance) for text in last] == [("one", False), ("two", False), ("", True)]
    assert len(speech.samples) == 2 * CHUNK_SAMPLES
    assert [piece.text for piece in speech.sent] == ["one", "two"]


def test_what_was_answered_is_not_sent_again(run):
    def script(requests, number, context):
        if number == 0:
            next(requests)
            next(requests)
            yield done("u1", refusal("text.delta", "no"))
            next(requests)
            yield Response(flushed=speech_pb2.Flushed(flush_id="f"))
            next(requests)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield from talk(requests)

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation.send("refused", "u1", end=True)
            assert isinstance(await anext(conversation), Done)
            await conversation.flush("f")
            assert isinstance(await anext(conversation), Flushed)
            await conversation.send("spoken", "u2", end=True)
            await conversation.finish()
            return [event async for event in conversation]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert [type(event) for event in events] == [Started, Audio, Done]
    assert [request.text.delta for request in server.calls[1]] == ["", "spoken"]


def test_call_lost_after_the_first_audio_stays_lost(run):
    def script(requests, number, context):
        next(requests)
        yield started("u1")
        yield audio("u1", 0)
        context.abort(grpc.StatusCode.UNAVAILABLE, "crashed")

    async def main(target: str) -> None:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation.send("one", "u1")
            events = [await anext(conversation), await anext(conversation)]
            assert [type(event) for event in events] == [Started, Audio]
            with pytest.raises(IntoneCallError, match="UNAVAILABLE: crashed"):
                await anext(conversation)
            with pytest.raises(IntoneCallError, match="UNAVAILABLE: crashed"):
                await conversation.send("two", "u1")

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(server.calls) == 1


def test_server_that_is_not_there(run):
    with scripted_server() as server:
        target = server.target  # free again below

    async def main() -> None:
        async with SpeechClient(target, reconnects=1) as client:
            assert not await client.serving()
            with pytest.raises(IntoneCallError) as said:
                await client.say("Hello.")
            with pytest.raises(IntoneCallError) as asked:
                await client.server_info()
        assert said.value.code is asked.value.code is grpc.StatusCode.UNAVAILABLE

    run(main())


def test_leaving_the_context_ends_the_call(run):
    ended = []

    def script(requests, number, context):
        context.add_callback(lambda: ended.append(context.code()))
        next(requests)
        yield started("u1")
        for _ in requests:
            pass

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            async with client.converse() as conversation:
                await anext(conversation)
            async with client.converse() as conversation:
                await anext(conversation)
                reader = asyncio.create_task(anext(conversation))
                await asyncio.sleep(0)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(ended) == 2


# ---- voices, security ------------------------------------------------------------------------------------------------


def test_voices(run, tmp_path: Path):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(range(256)) * 600)  # 150 KiB: two whole pieces and a rest
    steps: list[tuple[int, int]] = []

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            created = await client.voices.create(
                recording, "ada", transcript="words", progress=lambda *step: steps.append(step)
            )
            assert (created.voice.name, list(created.warnings)) == ("ada", ["it was cut"])
            assert [voice.name for voice in await client.voices.list()] == ["ada"]
            assert (await client.voices.get("ada")).transcript == "words"
            with pytest.raises(IntoneCallError) as taken:
                await client.voices.create(recording, "ada")
            await client.voices.create(recording, "ada", replace=True)
            await client.voices.delete("ada")
            with pytest.raises(IntoneCallError) as gone:
                await client.voices.get("ada")
            with pytest.raises(IntoneCallError):
                await client.voices.delete("ada")
            with pytest.raises(FileNotFoundError):
                await client.voices.create(tmp_path / "nothing.wav", "eve")
        assert taken.value.code is grpc.StatusCode.ALREADY_EXISTS
        assert gone.value.code is grpc.StatusCode.NOT_FOUND

    with scripted_server() as server:
        run(main(server.target))
    pieces = [request.audio for request in server.uploads[0][1:]]
    assert [len(piece) for piece in pieces] == [65536, 65536, 22528]
    assert b"".join(pieces) == recording.read_bytes()
    assert steps == [(65536, 153600), (131072, 153600), (153600, 153600)]


@pytest.fixture(scope="module")
def certificates(require, tmp_path_factory) -> Path:
    """Two self-signed certificates, of a server and of a client; each is its own authority."""
    openssl = require("openssl", shutil.which("openssl"), "the command openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"]
        subprocess.run(
            [*command, "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True
        )
    return folder


def test_tls_mutual_tls_and_token(run, certificates: Path):
    pair = [((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())]
    mutual = grpc.ssl_server_credentials(pair, (certificates / "client.pem").read_bytes(), require_client_auth=True)
    ca = certificates / "server.pem"
    ours = (certificates / "client.pem", certificates / "client.key")

    async def version(target: str, credentials, token: str | None) -> str:
        async with SpeechClient(target, credentials=credentials, token=token) as client:
            await client.say("Hello.")
            return (await client.server_info()).version

    with scripted_server(credentials=grpc.ssl_server_credentials(pair), token="secret") as server:
        assert run(version(server.target, tls(ca), "secret")) == "9.9"
        with pytest.raises(IntoneCallError) as refused:
            run(version(server.target, tls(ca), None))
        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
    with scripted_server(credentials=mutual) as server:
        assert run(version(server.target, tls(ca, *ours), None)) == "9.9"
    with pytest.raises(ValueError, match="key"):
        tls(ca, ours[0])


# ---- measures --------------------------------------------------------------------------------------------------------


def chunk(received_s: float, length_ms: int, kind: str = "speech", level: float = 0.5) -> Audio:
    data = np.full(length_ms, level * 32767, "<i2").tobytes()
    return Audio(received_s, "u1", 0, 0, kind, data, "starter", None, {}, S16)


def test_latency_of_known_arrivals():
    chunks = [
        chunk(10.25, 100, "filler"),
        chunk(10.5, 100, level=0.0),  # silence: not the first sound
        chunk(10.75, 250),
        chunk(11.5, 500),
    ]
    latency = measure(10.0, chunks)
    assert (latency.first_chunk_ms, latency.filler_ttfa_ms, latency.ttfa_ms) == (250, 250, 750)
    assert latency.gaps_ms == (250, 250, 750)
    assert (latency.gap_avg_ms, latency.gap_max_ms) == (1250 / 3, 750)
    assert latency.audio_ms == pytest.approx(950, abs=1e-9)
    assert latency.rtf == pytest.approx(1.5 / 0.95, abs=1e-12)
    # Played 10.25–10.35, dry until 10.5, –10.6, dry until 10.75, –11.0, dry until 11.5.
    assert latency.underrun_s == pytest.approx(0.15 + 0.15 + 0.5, abs=1e-9)
    assert not latency.continuous


def test_playback_stalls_only_when_dry():
    playback = simulate_playback([(1.0, 0.5), (1.1, 0.5), (2.5, 0.25), (2.75, 0.25)])
    assert playback.starts_s == (1.0, 1.5, 2.5, 2.75)
    assert playback.stalls == (Stall(2.0, 0.5),)
    assert (playback.end_s, playback.underrun_s, playback.continuous) == (3.0, 0.5, False)
    assert simulate_playback([(0.0, 1.0), (1.0625, 1.0)]).continuous  # under 100 ms passes
    assert simulate_playback([]).underrun_s == 0


def test_latency_of_nothing():
    latency = measure(1.0, [])
    assert (latency.ttfa_ms, latency.rtf, latency.gap_avg_ms, latency.gap_max_ms) == (None, None, None, None)
    assert (latency.audio_ms, latency.underrun_s, latency.continuous) == (0, 0, True)


def test_only_its_own_chunks_belong_to_an_utterance():
    trace = Trace(
        [Sent(1.0, "u1", "a"), Sent(2.0, "u2", "b")], [chunk(1.5, 10), replace(chunk(2.5, 20), utterance_id="u2")]
    )
    assert trace.speech("u2").latency.first_chunk_ms == 500
    assert len(trace.speech("u1").samples) == 10


# ---- samples, files, device, picture ---------------------------------------------------------------------------------


def test_decoding():
    assert Format("pcm_s16le", 8000).decode(struct.pack("<3h", -32768, 0, 16384)).tolist() == [-1.0, 0.0, 0.5]
    assert Format("pcm_f32le", 8000).decode(struct.pack("<2f", 1.5, -0.25)).tolist() == [1.5, -0.25]
    # ITU-T G.711: the loudest of either sign, and the quietest.
    mulaw = Format("mulaw", 8000).decode(bytes([0x00, 0x80, 0xFF, 0x7F])) * 32768
    assert mulaw.tolist() == [-32124, 32124, 0, 0]
    alaw = Format("alaw", 8000).decode(bytes([0x2A, 0xAA, 0xD5, 0x55])) * 32768
    assert alaw.tolist() == [-32256, 32256, 8, -8]
    assert Format("alaw", 8000).seconds(4000) == 0.5


def test_emotions_as_people_write_them(tmp_path: Path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert parse_emotion("ANGRY").label == emotion_pb2.EMOTION_LABEL_ANGRY
    assert parse_emotion("happy:0.75").intensity == 0.75
    assert not parse_emotion("happy").HasField("intensity")
    assert list(parse_emotion("1,0,0,0,0,0,0,0.5").vector.weights) == [1, 0, 0, 0, 0, 0, 0, 0.5]
    assert parse_emotion("describe: tired but relieved").description == "tired but relieved"
    assert parse_emotion(f"@{clip}").clip.audio == b"RIFF"
    for wrong in ("cheerful", "1,2", "happy:much", "1,0,0,0,0,0,0,x", "unspecified_"):
        with pytest.raises(ValueError):
            parse_emotion(wrong)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wav_files_are_whole(encoding: str, tmp_path: Path):
    path, audio_format = tmp_path / "a.wav", Format(encoding, 8000)
    data = bytes(range(64)) * audio_format.bytes_per_sample + bytes(audio_format.bytes_per_sample)
    with WavWriter(path, audio_format) as file:
        file.write(data[:40])
        file.write(data[40:])
    written = path.read_bytes()
    assert struct.unpack("<4sI4s", written[:12]) == (b"RIFF", len(written) - 8, b"WAVE")
    at = written.index(b"data")
    assert struct.unpack("<I", written[at + 4 : at + 8]) == (len(data),)
    assert written[at + 8 : at + 8 + len(data)] == data
    assert len(written) % 2 == 0
    if encoding == "pcm_s16le":
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            assert file.readframes(1000) == data


def test_playback_buffer_counts_what_was_played_and_what_was_missing():
    buffer = PlaybackBuffer(start_samples=3)
    buffer.write(np.array([1, 2], np.float32))
    assert buffer.take(2).tolist() == [0, 0]  # still filling its cushion
    buffer.write(np.array([3, 4], np.float32))
    assert buffer.take(3).tolist() == [1, 2, 3]
    assert buffer.take(3).tolist() == [4, 0, 0]
    assert (buffer.played_samples, buffer.underrun_samples) == (4, 2)
    buffer.write(np.array([5, 6], np.float32))
    buffer.drop()
    assert buffer.take(2).tolist() == [0, 0]
    assert (buffer.played_samples, buffer.underrun_samples, buffer.finished) == (4, 2, True)


def test_player_plays_everything_on_a_device_without_sound(run):
    miniaudio = pytest.importorskip("miniaudio")
    player = Player(RATE_HZ, backends=[miniaudio.Backend.NULL])
    try:
        player.buffer.write(np.zeros(RATE_HZ // 10, np.float32))
        player.buffer.complete()
        run(player.drain())
        assert player.played_ms == 100
    finally:
        player.close()


def test_picture(tmp_path: Path):
    pytest.importorskip("matplotlib")
    report = Report(100.0, None, 1.0, 0.5, 900.0, 0.0, 450.0, {"lm": 300.0, "vae": 150.0}, 1)
    how = Started(1.1, "u1", "starter", "plain", "plain talk", (0.0,) * 8, S16, "default", 1)
    chunks = [chunk(1.2 + 0.3 * index, 200, "filler" if index == 0 else "speech") for index in range(4)]
    events = (how, *chunks, Done(2.5, "u1", "completed", None, report))
    speech = Speech((Sent(1.0, "u1", "It costs $5 and $6, "), Sent(1.1, "u1", "or less.")), events)
    path = tmp_path / "timeline.png"
    draw_timeline(speech, path)
    written = path.read_bytes()
    assert written[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", written[16:24])
    assert 1200 <= width <= 2000
    assert 800 <= height <= 1600
    assert 20_000 < len(written) < 1_000_000
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_timeline(Speech((), ()), path)
    write_wav(tmp_path / "a.wav", S16, chunks[0].data)
    assert (tmp_path / "a.wav").stat().st_size == 44 + 400
