"""Latency measures, decoding, emotions, WAV files and playback of the client."""

import struct
import wave
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from intone.client import AudioChunk, ConversationLog, Format, IntoneCallError, Notice, RequestRefused, SentText
from intone.client.audio import ENCODINGS
from intone.client.events import event_to_json
from intone.client.latency import Underrun, measure_latency, simulate_playback
from intone.client.playback import PlaybackBuffer, Player
from intone.client.settings import parse_emotion
from intone.client.wav import WavWriter, write_wav
from intone.proto import emotion_pb2, speech_pb2
from tests.support.scripted_server import RATE_HZ

S16 = Format("pcm_s16le", 1000)


def chunk(received_s: float, length_ms: int, kind: str = "speech", level: float = 0.5) -> AudioChunk:
    data = np.full(length_ms, level * 32767, "<i2").tobytes()
    return AudioChunk(received_s, "u1", 0, 0, kind, data, "starter", None, {}, S16)


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


def test_the_log_separates_utterances():
    log = ConversationLog(
        [SentText(1.0, "u1", "a"), SentText(2.0, "u2", "b")],
        [chunk(1.5, 10), replace(chunk(2.5, 20), utterance_id="u2")],
    )
    assert log.speech("u2").latency.first_chunk_ms == 500
    assert len(log.speech("u1").samples) == 10


def test_events_in_json_are_named_as_on_the_wire():
    refused = IntoneCallError(grpc.StatusCode.INVALID_ARGUMENT, "no good", [("text.delta", "is too long")])
    names = {member.name for member in speech_pb2.StreamSynthesizeResponse.DESCRIPTOR.oneofs[0].fields}
    events = [chunk(1.0, 10), Notice(1.0, "draining", "reconnect", ""), RequestRefused(1.0, "u1", refused)]
    values = [event_to_json(event) for event in events]
    assert [value["event"] for value in values] == ["audio", "warning", "error"]
    assert {value["event"] for value in values} <= names
    assert (values[0]["bytes"], values[0]["sample_rate_hz"]) == (20, 1000)
    assert values[2]["error"] == {
        "code": "INVALID_ARGUMENT",
        "message": "no good",
        "violations": [("text.delta", "is too long")],
    }


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


def test_playback_buffer_counts_played_samples_and_underruns():
    buffer = PlaybackBuffer(start_samples=3)
    buffer.write(np.array([1, 2], np.float32))
    assert buffer.take(2).tolist() == [0, 0]  # the jitter buffer is not full yet
    buffer.write(np.array([3, 4], np.float32))
    assert buffer.take(3).tolist() == [1, 2, 3]
    assert buffer.take(3).tolist() == [4, 0, 0]
    assert (buffer.played_samples, buffer.underrun_samples) == (4, 2)
    buffer.write(np.array([5, 6], np.float32))
    buffer.drop()
    assert buffer.take(2).tolist() == [0, 0]
    assert (buffer.played_samples, buffer.underrun_samples, buffer.finished) == (4, 2, True)


def test_player_plays_everything_on_a_null_device(run):
    miniaudio = pytest.importorskip("miniaudio")
    player = Player(RATE_HZ, backends=[miniaudio.Backend.NULL])
    try:
        player.buffer.write(np.zeros(RATE_HZ // 10, np.float32))
        player.buffer.complete()
        run(player.drain())
        assert player.played_ms == 100
    finally:
        player.close()
