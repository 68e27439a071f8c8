"""Latency measures, decoding, emotions, WAV files and playback of the client."""

import io
import json
import os
import struct
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from intone.client import (
    AudioChunk,
    AudioPosition,
    Cut,
    Emotion,
    EmotionWeights,
    Format,
    Interrupted,
    Notice,
    PlaybackBuffer,
    Player,
    RequestRefused,
    SentText,
    Speech,
    TextSpan,
    WavWriter,
    parse_emotion,
    utf16_span,
)
from intone.client.audio import ENCODINGS
from intone.client.emotions import as_emotion
from intone.client.errors import error_for
from intone.client.events import EVENT_NAMES
from intone.client.json_values import event_to_json
from intone.client.latency import Underrun, measure_latency, simulate_playback
from intone.client.wav import write_wav
from intone.proto import speech_pb2
from tests.support.scripted_responses import RATE_HZ

S16 = Format("pcm_s16le", 1000)


def chunk(received_s: float, length_ms: int, kind: str = "speech", level: float = 0.5) -> AudioChunk:
    data = np.full(length_ms, level * 32767, "<i2").tobytes()
    return AudioChunk(received_s, "u1", 0, 0, length_ms, kind, data, None, "", {}, S16)


def test_latency_of_known_arrivals():
    chunks = [
        chunk(10.25, 100, "filler"),
        chunk(10.5, 100, level=0.0),  # silence: not the first sound
        chunk(10.75, 250),
        chunk(11.5, 500),
    ]
    latency = measure_latency(10.0, chunks)
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
    assert playback.underruns == (Underrun(2.0, 2.5),)
    assert (playback.end_s, playback.underrun_s, playback.continuous) == (3.0, 0.5, False)
    assert simulate_playback([(0.0, 1.0), (1.0625, 1.0)]).continuous  # under 100 ms passes
    assert simulate_playback([]).underrun_s == 0


def test_latency_without_chunks():
    latency = measure_latency(1.0, [])
    assert (latency.ttfa_ms, latency.rtf, latency.gap_avg_ms, latency.gap_max_ms) == (None, None, None, None)
    assert (latency.audio_ms, latency.underrun_s, latency.continuous) == (0, 0, True)


def test_speech_measures_from_its_first_text():
    speech = Speech([SentText(2.0, "b"), SentText(2.25, "c")], [chunk(2.5, 20), chunk(2.75, 10)], S16)
    assert (speech.text, speech.latency.first_chunk_ms) == ("bc", 500)
    assert (len(speech.samples), len(speech.pcm), speech.done, speech.report) == (30, 60, None, None)


def test_events_are_named_as_on_the_wire():
    fields = speech_pb2.StreamSynthesizeResponse.DESCRIPTOR.oneofs_by_name["response"].fields
    assert {field.name for field in fields} - {"resumed"} == set(EVENT_NAMES)  # of calls, not of streams
    refused = error_for(grpc.StatusCode.INVALID_ARGUMENT, "no good", "VALUE_INVALID", [("text.delta", "is too long")])
    cut = Cut("u1", 7, 1, "a", "b", "reported")
    events = [
        chunk(1.0, 10),
        Notice(1.0, "going_away", "reconnect", ""),
        RequestRefused(1.0, 3, "u1", refused),
        Interrupted(2.0, "i1", (cut,)),
    ]
    values = json.loads(json.dumps([event_to_json(event) for event in events]))
    assert [value["event"] for value in values] == ["audio", "notice", "request_refused", "interrupted"]
    assert (values[0]["bytes"], values[0]["sample_count"]) == (20, 10)
    assert values[2]["error"] == {
        "code": "INVALID_ARGUMENT",
        "message": "no good",
        "reason": "VALUE_INVALID",
        "violations": [["text.delta", "is too long"]],
        "metadata": {},
        "retry_after_s": None,
    }
    assert values[3]["cuts"][0]["heard_samples"] == 7


def test_spans_in_utf16():
    text = "Hi 😀😀 friend."
    span = TextSpan(text.index("friend."), len(text))
    start, end = utf16_span(text, span)
    assert text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le") == "friend."
    assert utf16_span(text, TextSpan(0, 2)) == TextSpan(0, 2)


def test_decoding_of_every_encoding():
    assert Format("pcm_s16le", 8000).decode(struct.pack("<3h", -32768, 0, 16384)).tolist() == [-1.0, 0.0, 0.5]
    assert Format("pcm_f32le", 8000).decode(struct.pack("<2f", 1.5, -0.25)).tolist() == [1.5, -0.25]
    # ITU-T G.711: the largest and the smallest magnitude of either sign.
    mulaw = Format("mulaw", 8000).decode(bytes([0x00, 0x80, 0xFF, 0x7F])) * 32768
    assert mulaw.tolist() == [-32124, 32124, 0, 0]
    alaw = Format("alaw", 8000).decode(bytes([0x2A, 0xAA, 0xD5, 0x55])) * 32768
    assert alaw.tolist() == [-32256, 32256, 8, -8]
    assert Format("alaw", 8000).seconds(4000) == 0.5


def test_parse_emotion_reads_every_notation(tmp_path: Path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    assert parse_emotion("ANGRY") == Emotion(label="ANGRY")
    assert parse_emotion("relieved:0.75") == Emotion(label="relieved", intensity=0.75)
    assert not parse_emotion("happy").message().HasField("intensity")
    assert parse_emotion("1,0,0,0,0,0,0,0.5").weights == EmotionWeights(happy=1, calm=0.5)
    assert parse_emotion("describe: tired but relieved").message().description == "tired but relieved"
    assert parse_emotion(f"@{clip}").clip == clip
    assert as_emotion({"sad": 0.5}).message().weights.sad == 0.5
    assert as_emotion([0, 0, 0, 0, 0, 0, 0, 1]).weights == EmotionWeights(calm=1)
    for wrong in ("", "1,2", "happy:much", "1,0,0,0,0,0,0,x", "@nothing.wav"):
        with pytest.raises(ValueError):
            parse_emotion(wrong)
    with pytest.raises(ValueError, match="joyful"):
        as_emotion({"joyful": 1})
    with pytest.raises(ValueError, match="exactly one"):
        Emotion(label="happy", description="glad").message()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_wav_files_have_the_right_sizes_and_samples(encoding: str, tmp_path: Path):
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
    write_wav(tmp_path / "b.wav", audio_format, data)
    assert (tmp_path / "b.wav").read_bytes() == written
    if encoding == "pcm_s16le":
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
            assert file.readframes(1000) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_wav_file_for_a_pipe_has_an_open_length(encoding: str, tmp_path: Path):
    path, audio_format = tmp_path / "pipe", Format(encoding, 8000)
    os.mkfifo(path)
    data = bytes(range(64)) * audio_format.bytes_per_sample
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(path.read_bytes)
        with WavWriter(path, audio_format) as file:
            file.write(data)
        written = read.result(10)
    at = written.index(b"data")
    assert struct.unpack("<I", written[at + 4 : at + 8]) == (0x7FFFF000,) and written[at + 8 :] == data
    pcm, rate_hz = soundfile.read(io.BytesIO(written))
    assert (len(pcm), rate_hz) == (64, 8000)


def test_playback_buffer_counts_played_samples_and_underruns():
    buffer = PlaybackBuffer(start_samples=3)
    buffer.write("u1", np.array([1, 2], np.float32))
    assert buffer.take(2).tolist() == [0, 0]  # the jitter buffer is not full yet
    assert buffer.position is None
    buffer.write("u1", np.array([3, 4], np.float32))
    assert buffer.take(3).tolist() == [1, 2, 3]
    assert buffer.take(3).tolist() == [4, 0, 0]
    assert (buffer.played_samples, buffer.underrun_samples, buffer.position) == (4, 2, AudioPosition("u1", 4))
    buffer.write("u1", np.array([5, 6], np.float32))
    buffer.drop()
    assert buffer.take(2).tolist() == [0, 0]
    buffer.complete()
    assert (buffer.played_samples, buffer.underrun_samples, buffer.finished) == (4, 2, True)


def test_playback_positions_count_each_utterance_from_its_beginning():
    buffer = PlaybackBuffer()
    buffer.write("u1", np.array([1, 2, 3], np.float32))
    buffer.write("u2", np.array([4, 5, 6], np.float32))
    buffer.write("u3", np.array([7], np.float32))
    assert buffer.take(2).tolist() == [1, 2]
    assert buffer.position == AudioPosition("u1", 2)
    buffer.drop("u1")
    assert buffer.position == AudioPosition("u1", 2)  # the last that was heard
    assert buffer.take(2).tolist() == [4, 5]
    assert buffer.position == AudioPosition("u2", 2)
    assert buffer.take(2).tolist() == [6, 7]
    assert buffer.position == AudioPosition("u3", 1)


def test_player_plays_everything_on_a_null_device(run):
    miniaudio = pytest.importorskip("miniaudio")
    with Player(Format("pcm_s16le", RATE_HZ), backends=[miniaudio.Backend.NULL]) as player:
        player.write("u1", bytes(RATE_HZ // 10 * 2))
        player.complete()
        run(player.drain())
        assert player.position == AudioPosition("u1", RATE_HZ // 10)
