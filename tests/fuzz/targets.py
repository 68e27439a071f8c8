"""What the fuzzer calls: every place that reads what a caller, or a file, brings; and the native code.

A target takes bytes. It returns where the input is read or refused as documented, and raises where there is a fault.
"""

import contextlib
import io
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from intone.proto import emotion_pb2, speech_pb2, voice_pb2
from intone.server.audio.recordings import read_recording, read_recordings
from intone.server.conversation.tagged_text import TaggedText
from intone.server.domain import Recording, Voice
from intone.server.emotion.labels import parse_description, parse_label
from intone.server.emotion.lexicon import Lexicon
from intone.server.engines.phonemes import HIBARI, phonemizer
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import read_tensors
from intone.server.errors import CallerError, CheckpointError
from intone.server.events import InvalidMessage
from intone.server.rpc import voice_requests
from intone.server.rpc.wire import requests
from intone.server.rpc.wire.decoding import decode
from intone.server.settings import FillerPolicy, SpeechSettings
from intone.server.text.cues import SsmlError, TextFormat
from intone.server.text.normalizer import Normalizer, WrittenText
from intone.server.text.segmenter import Segmenter
from intone.server.voices import voice_file
from tests.fuzz.native_calls import native_call, native_calls
from tests.support.sound_files import encoded, speechlike
from tests.support.text_properties import check_pieces, lost_words

ROOT = Path(__file__).resolve().parents[2]
MAX_CHARACTERS = 400
"""Of a fuzzed text: twice the length of a unit."""

MAX_DELTA_S = 0.02
"""CPU time of one delta on the event loop."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to fuzz.

    Attributes:
        run: called with an input; raises where there is a fault.
        seeds: valid inputs, from which others are made.
        max_ms: CPU time that one input may take: 50 where it is read on the event loop.
        is_text: whether inputs are UTF-8.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    max_ms: float = 50.0
    is_text: bool = False


# ---- text


def _text(data: bytes) -> str:
    return data.decode("utf8", "ignore")[:MAX_CHARACTERS]


def texts() -> list[bytes]:
    """Sentences of the corpus, and pieces of markup."""
    lines = (ROOT / "tests/data/normalization.tsv").read_text("utf8").splitlines()
    written = [cell for line in lines if not line.startswith("#") for cell in line.split("\t")[1:3]]
    markup = ["<speak>Hi <break time='1s'/> <sub alias='a'>b</sub></speak>", "# Head\n\n* [a](http://b.c) `d` $x^2$"]
    tags = ["[happy] Yes! [sigh] <think>no</think> *laughs* （生气）不行。", "```py\nx = 1\n```", "a-" * 60, "=" * 80]
    return [text.encode() for text in [*written, *markup, *tags] if text]


def normalize(data: bytes) -> None:
    """A unit's text is read: no word is lost, and every piece knows its span."""
    text = _text(data)
    for language in ("", "zh"):
        normalized = Normalizer().read(WrittenText(text, language))
        check_pieces(text, normalized)
        assert not lost_words(text, normalized), lost_words(text, normalized)


def deltas(data: bytes) -> None:
    """A text gives the same units in pieces as in one: in each format, units tile it."""
    text = _text(data)
    draw = random.Random(len(data))
    for text_format in TextFormat:
        whole, parts = TaggedText(Segmenter(), text_format), TaggedText(Segmenter(), text_format)
        try:
            units = whole.push(text) + whole.finish()
        except SsmlError:
            continue
        position, found, longest_s = 0, [], 0.0
        while position < len(text):
            step, began_s = draw.randint(1, 7), time.process_time()
            found += parts.push(text[position : position + step])
            longest_s = max(longest_s, time.process_time() - began_s)
            position += step
        found += parts.finish()
        assert longest_s < MAX_DELTA_S, longest_s
        assert [(unit.start, unit.end, unit.untagged_text) for unit in units] == [
            (unit.start, unit.end, unit.untagged_text) for unit in found
        ]
        assert all(before.end == after.start for before, after in zip(units, units[1:], strict=False))


def emotion(data: bytes) -> None:
    """Labels, descriptions and moods are read."""
    text = _text(data)
    parse_label(text)
    parse_description(text)
    for weight in _lexicon().analyze(text).emotion.weights:
        assert 0 <= weight <= 1


@cache
def _lexicon() -> Lexicon:
    return Lexicon()


def phonemes(data: bytes) -> None:
    """The sounds of text that was read: never an error, whatever the characters."""
    spoken = Normalizer()(_text(data)[:200])
    if spoken:
        _phonemizer()(spoken)


@cache
def _phonemizer() -> Callable[[str], str]:
    return phonemizer(HIBARI, ("en", "zh"))


# ---- the wire


def _no_clip(clip_id: str, field: str) -> bytes:
    raise CallerError(field, "is not known")


@cache
def _defaults() -> requests.Defaults:
    settings = SpeechSettings("default", filler=FillerPolicy.AUTO, text_format=TextFormat.TAGS, normalize=True)
    return requests.Defaults(settings, 24_000, 5000, 16_384, _no_clip)


def stream_message(data: bytes) -> None:
    """A message of a stream, as its first and as a later one."""
    message = decode(speech_pb2.StreamSynthesizeRequest, data)
    event = requests.client_event(message, _defaults())
    if isinstance(event, InvalidMessage):
        assert len(str(event.error)) < 1000
    try:
        requests.first_message(message, _defaults())
    except CallerError as error:
        assert len(str(error)) < 1000


def stream_messages() -> list[bytes]:
    """One message of each kind, with all its fields."""
    config = speech_pb2.StreamConfig(
        format={"encoding": 1, "sample_rate_hz": 16_000}, max_lead_ms=2000, chunk_ms=40, labels={"call": "7"}
    )
    settings = config.defaults
    settings.voice, settings.language, settings.seed, settings.speed = "default", "en-GB", 7, 1.2
    settings.emotion.CopyFrom(emotion_pb2.Emotion(label="angry", intensity=0.7))
    settings.pronunciations.add(word="router", ipa="ˈraʊtɚ", language="en")
    settings.engine_parameters["steps"] = 8
    given: list[dict[str, Any]] = [
        {"config": config},
        {"text": {"utterance_id": "u1", "delta": "Good morning.", "end_of_utterance": True}},
        {"start": {"utterance_id": "u1", "settings": settings, "text_timeout_ms": 500}},
        {"interrupt": {"interrupt_id": "i", "utterance_ids": ["u1"], "played": {"utterance_id": "u1", "sample": 9}}},
        {"flush": {"flush_id": "f"}},
        {"playback": {"played": {"utterance_id": "u1", "sample": 100}}},
        {"finish": {}},
    ]
    return [speech_pb2.StreamSynthesizeRequest(**one).SerializeToString() for one in given]


def _fillers(message: voice_pb2.AddFillersRequest) -> None:
    for new in voice_requests.new_fillers(message.clips):
        limits = {"min_ms": voice_requests.MIN_FILLER_CLIP_MS, "max_ms": voice_requests.MAX_FILLER_CLIP_MS}
        (found,) = read_recordings([new.sound], **limits)
        voice_requests.filler_of(new, found)


def voice_message(data: bytes) -> None:
    """The messages of the voice service."""
    readers: dict[Any, tuple[Callable[[Any], object], ...]] = {
        voice_pb2.CreateVoiceRequest: (voice_requests.first_upload_message, voice_requests.later_upload_message),
        voice_pb2.ListVoicesRequest: (voice_requests.page_size, voice_requests.page_position),
        voice_pb2.RemoveFillersRequest: (voice_requests.filler_filter,),
        voice_pb2.AddFillersRequest: (_fillers,),
    }
    for kind, functions in readers.items():
        for read in functions:
            try:
                read(voice_requests.decoded(decode(kind, data)))
            except CallerError as error:
                assert len(str(error)) < 1000


def voice_messages() -> list[bytes]:
    """A valid message of each kind."""
    wav = encoded(speechlike(16_000, 0.3), 16_000)
    clip = voice_pb2.FillerClip(audio=wav, text="Hmm", emotion="sad", language="en")
    config = voice_pb2.VoiceConfig(name="ada", transcript="A word.", languages=["en"], labels={"team": "a"})
    given = [
        voice_pb2.CreateVoiceRequest(config=config),
        voice_pb2.CreateVoiceRequest(audio=wav),
        voice_pb2.ListVoicesRequest(page_size=7, page_token=voice_requests.page_token((True, "ada"))),
        voice_pb2.AddFillersRequest(voice="ada", clips=[clip]),
        voice_pb2.RemoveFillersRequest(voice="ada", emotion="sad", language="en", text="Hmm"),
    ]
    return [message.SerializeToString() for message in given]


# ---- files


def recording(data: bytes) -> None:
    """A sound file becomes samples that are finite, or an error that is short."""
    try:
        found = read_recording(data, "", min_ms=100, max_ms=10_000)
    except CallerError as error:
        assert len(str(error)) < 1000
    else:
        assert np.isfinite(found.samples).all()
        assert np.abs(found.samples).max() > 0


def recordings() -> list[bytes]:
    """Sound files of all kinds."""
    mono, stereo = speechlike(16_000, 0.3), np.stack([speechlike(8000, 0.3)] * 2, axis=1)
    kinds = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "ALAW")]
    files = [encoded(mono, 16_000, *kind) for kind in [*kinds, ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)]]
    return [*files, encoded(stereo, 8000), encoded(stereo, 8000, "FLAC")]


def voice(data: bytes) -> None:
    """A voice file is read or refused as its documentation says."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="", suffix=voice_file.VOICE_SUFFIX) as file:
        Path(file.name).write_bytes(data.replace(b'"ada"', f'"{Path(file.name).stem}"'.encode(), 1))
        with contextlib.suppress(CallerError, ValueError, LookupError, TypeError, SafetensorError, OSError):
            voice_file.from_file(Path(file.name))


def voices() -> list[bytes]:
    """A file of the smallest voice."""
    made = Recording(speechlike(8000, 0.1), 8000, "a word")
    return [voice_file.to_bytes(Voice("ada", made, content_id=voice_file.content_id(made)))]


def checkpoint(data: bytes) -> None:
    """The `config.json` of a checkpoint is read or refused with a `CheckpointError`."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".json") as file:
        Path(file.name).write_bytes(data)
        try:
            VoxCPMConfig.load(Path(file.name))
        except CheckpointError as error:
            assert len(str(error)) < 2000


def checkpoints() -> list[bytes]:
    """The packaged one."""
    path = ROOT / "server/engines/voxcpm/nano/config.json"
    return [path.read_bytes(), json.dumps(json.loads(path.read_bytes())).encode()]


def tensors(data: bytes) -> None:
    """A file of weights is read or refused."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".safetensors") as file:
        Path(file.name).write_bytes(data)
        with contextlib.suppress(CheckpointError):
            read_tensors(Path(file.name), "voxcpm")


def tensor_files() -> list[bytes]:
    """Two small tensors; a pickle."""
    import torch

    pickled = io.BytesIO()
    torch.save({"a": torch.zeros(2, 3)}, pickled)
    arrays = {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.int8)}
    return [bytes(save(arrays, {"format": "pt"})), pickled.getvalue()]


TARGETS = {
    "normalize": Target(normalize, texts, max_ms=250.0, is_text=True),  # in a process of its own, with a time budget
    "deltas": Target(deltas, texts, max_ms=500.0, is_text=True),
    "emotion": Target(emotion, texts, is_text=True),
    "phonemes": Target(phonemes, texts, max_ms=500.0, is_text=True),
    "stream_message": Target(stream_message, stream_messages),
    "voice_message": Target(voice_message, voice_messages, max_ms=500.0),  # decodes clips, off the event loop
    "recording": Target(recording, recordings, max_ms=500.0),
    "voice": Target(voice, voices, max_ms=500.0),
    "checkpoint": Target(checkpoint, checkpoints, max_ms=500.0),
    "tensors": Target(tensors, tensor_files, max_ms=500.0),
    "native": Target(native_call, native_calls, max_ms=10_000.0),
}
