"""Settings of streams and utterances, and their conversion to wire messages.

Only names are checked here; the server checks the ranges of numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from intone.client.emotions import EmotionLike, as_emotion
from intone.proto import audio_pb2, speech_pb2

Encoding = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]
FillerPolicy = Literal["auto", "off", "eager"]
TextFormat = Literal["plain", "tags", "ssml"]
Delivery = Literal["streamed", "buffered"]
ServiceClass = Literal["live", "offline"]
TimingKind = Literal["estimated", "aligned"]


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """How a word is said: exactly one of `ipa`, `pinyin` and `spoken_as`.

    Attributes:
        word: the word as it is written, 1 to 64 characters.
        ipa: phonemes of the International Phonetic Alphabet, 1 to 128 characters.
        pinyin: syllables with tone digits and spaces between them, such as "chong2 qing4".
        spoken_as: other words that sound like it, 1 to 128 characters.
        language: BCP 47 code of the language in which the entry applies; empty means all.
    """

    word: str
    ipa: str | None = None
    pinyin: str | None = None
    spoken_as: str | None = None
    language: str = ""

    def message(self) -> speech_pb2.Pronunciation:
        """Convert to the wire message.

        Raises:
            ValueError: not exactly one form is given.
        """
        if sum(form is not None for form in (self.ipa, self.pinyin, self.spoken_as)) != 1:
            raise ValueError(f"the pronunciation of {self.word!r} needs exactly one of ipa, pinyin and spoken_as")
        return speech_pb2.Pronunciation(
            word=self.word, ipa=self.ipa, pinyin=self.pinyin, spoken_as=self.spoken_as, language=self.language
        )


class SpeechOptions(TypedDict, total=False):
    """The fields of `SpeechSettings` as keyword arguments."""

    voice: str
    language: str
    emotion: EmotionLike | None
    engine: str
    filler: FillerPolicy | None
    text_format: TextFormat | None
    normalization: bool | None
    pronunciations: Sequence[Pronunciation]
    speed: float | None
    volume_db: float | None
    seed: int | None
    engine_parameters: Mapping[str, float]


class StreamOptions(SpeechOptions, total=False):
    """The fields of `StreamSettings` and of its `defaults` as keyword arguments."""

    encoding: Encoding
    sample_rate_hz: int | None
    max_lead_ms: int | None
    delivery: Delivery | None
    service_class: ServiceClass | None
    timings: TimingKind | None
    diagnostics: bool
    chunk_ms: int | None
    playback_delay_ms: int | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How an utterance is spoken. What is empty or None is taken from the level above: utterance, stream, server.

    Attributes:
        voice: name of the voice.
        language: BCP 47 code of the language of the text, such as "en"; empty: detected for each unit of text.
        emotion: None: read from the text, where the server has an analyzer.
        engine: name of an engine of the server; empty: chosen by emotion, language and load.
        filler: "auto" (an interjection covers a long wait for the first speech), "off" or "eager" (also inside).
        text_format: "plain" (brackets are text), "tags" ("[happy]" sets the emotion, the default) or "ssml".
        normalization: whether numbers, dates and symbols are read out as words.
        pronunciations: at most 1000, added to those of the level above.
        speed: pace of speech, 0.5 to 2; 2 is twice as fast.
        volume_db: change of volume in decibels, -60 to 20.
        seed: random seed, 0 to 2^53 - 1. The same text, voice, settings, engine and seed give the same audio.
        engine_parameters: settings of single engines, such as `{"steps": 8}`; see `EngineInfo.parameters`.
    """

    voice: str = ""
    language: str = ""
    emotion: EmotionLike | None = None
    engine: str = ""
    filler: FillerPolicy | None = None
    text_format: TextFormat | None = None
    normalization: bool | None = None
    pronunciations: Sequence[Pronunciation] = ()
    speed: float | None = None
    volume_db: float | None = None
    seed: int | None = None
    engine_parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def clip(self) -> Path | None:
        """The emotion clip to upload before these settings are used; None if there is none.

        Raises:
            ValueError: the emotion cannot be read.
        """
        return None if self.emotion is None else as_emotion(self.emotion).clip

    def message(self) -> speech_pb2.SpeechSettings:
        """Convert to the wire message.

        Raises:
            ValueError: a name is unknown, or the emotion cannot be read.
        """
        switch = {None: speech_pb2.SWITCH_UNSPECIFIED, True: speech_pb2.SWITCH_ON, False: speech_pb2.SWITCH_OFF}
        return speech_pb2.SpeechSettings(
            voice=self.voice,
            language=self.language,
            emotion=None if self.emotion is None else as_emotion(self.emotion).message(),
            engine=self.engine,
            filler=_value(speech_pb2.FillerPolicy, "FILLER_POLICY_", self.filler),
            text_format=_value(speech_pb2.TextFormat, "TEXT_FORMAT_", self.text_format),
            normalization=switch[self.normalization],
            pronunciations=[entry.message() for entry in self.pronunciations],
            speed=self.speed,
            volume_db=self.volume_db,
            seed=self.seed,
            engine_parameters=self.engine_parameters,
        )


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of a stream; `StreamConfig` on the wire. Defaults leave the decision to the server.

    Attributes:
        encoding: "pcm_s16le", "pcm_f32le", "mulaw" or "alaw".
        sample_rate_hz: 8000, 16000, 22050, 24000, 32000, 44100 or 48000; None: that of the engine of plain speech.
        defaults: settings of utterances that have none of their own.
        max_lead_ms: how far the server may run ahead of playback, 200 to 600,000.
        delivery: "streamed" (audio is sent while it is synthesized) or "buffered" (unit by unit).
        service_class: "live" (somebody listens: low latency counts) or "offline" (no fillers and no lead limit).
        timings: word times: "estimated" before their audio, or "aligned" with it afterwards.
        diagnostics: send the duration of each stage of synthesis with the audio.
        chunk_ms: exact length of the chunks of audio, 10 to 1000, but the last; None: any length.
        playback_delay_ms: time from the receipt of audio to its sound, 0 to 5000.
        labels: at most 16 of your own, such as a call id, which the server writes to its log.
    """

    encoding: Encoding = "pcm_s16le"
    sample_rate_hz: int | None = None
    defaults: SpeechSettings = field(default_factory=SpeechSettings)
    max_lead_ms: int | None = None
    delivery: Delivery | None = None
    service_class: ServiceClass | None = None
    timings: TimingKind | None = None
    diagnostics: bool = False
    chunk_ms: int | None = None
    playback_delay_ms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def message(self) -> speech_pb2.StreamConfig:
        """Convert to the wire message.

        Raises:
            ValueError: a name is unknown. The message lists the known names.
        """
        return speech_pb2.StreamConfig(
            format=audio_pb2.AudioFormat(
                encoding=_value(audio_pb2.AudioEncoding, "AUDIO_ENCODING_", self.encoding),
                sample_rate_hz=self.sample_rate_hz,
            ),
            defaults=self.defaults.message(),
            max_lead_ms=self.max_lead_ms,
            delivery=_value(speech_pb2.Delivery, "DELIVERY_", self.delivery),
            service_class=_value(speech_pb2.ServiceClass, "SERVICE_CLASS_", self.service_class),
            timings=_value(speech_pb2.TimingKind, "TIMING_KIND_", self.timings),
            diagnostics=self.diagnostics,
            chunk_ms=self.chunk_ms,
            playback_delay_ms=self.playback_delay_ms,
            labels=self.labels,
        )


def stream_settings(settings: StreamSettings | None, options: StreamOptions) -> StreamSettings:
    """Settings of a stream: `settings` with those of its fields, and of its defaults, that `options` gives.

    Raises:
        TypeError: an option is unknown.
    """
    settings = settings or StreamSettings()
    of_speech = {name: value for name, value in options.items() if name in SpeechOptions.__annotations__}
    others: dict[str, Any] = {name: value for name, value in options.items() if name not in of_speech}
    defaults = speech_settings(settings.defaults, cast(SpeechOptions, of_speech))
    return replace(settings, defaults=defaults, **others)


def speech_settings(settings: SpeechSettings | None, options: SpeechOptions) -> SpeechSettings:
    """Settings of an utterance: `settings` with those of its fields that `options` gives.

    Raises:
        TypeError: an option is unknown.
    """
    return replace(settings or SpeechSettings(), **options)


def _value(enum: Any, prefix: str, name: str | None) -> Any:
    """Value of an enum by its name in lower case and without `prefix`; None gives UNSPECIFIED.

    Raises:
        ValueError: there is no such name. The message lists the known names.
    """
    if name is None:
        return 0
    known = [key.removeprefix(prefix).lower() for key in enum.keys()[1:]]
    if name not in known:
        raise ValueError(f"{name!r} is not one of {', '.join(known)}")
    return enum.Value(prefix + name.upper())
