"""Runs a session with scripted workers on virtual time and records its events. Usually through the fixture `talk`."""

import asyncio
from dataclasses import fields, replace
from typing import Any

import numpy as np

from intone.server import events as e
from intone.server.conversation.context import FillerSettings, ServerContext
from intone.server.conversation.session import Session
from intone.server.domain import Voice
from intone.server.emotion.analyzers import EmotionAnalyzers
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.errors import CallerError, IntoneError, Reason
from intone.server.routing.router import Router
from intone.server.routing.ttfa_forecast import TTFAForecast
from intone.server.runtime.text_pool import SpokenText
from intone.server.settings import FillerPolicy, SpeechSettings, StreamLimits, StreamSettings
from intone.server.text.cues import TextFormat
from intone.server.text.normalization import NormalizedText, Piece
from intone.server.text.normalizer import WrittenText, as_written
from intone.server.text.segmenter import Segmenter
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker, text_of

WAIT_MS = 400

LIMITS = StreamLimits(
    max_text_characters=2000,
    max_utterance_characters=2000,
    max_open_utterances=4,
    idle_timeout_ms=600_000,
    text_timeout_ms=10_000,
    max_clip_bytes=1 << 20,
    max_message_bytes=1 << 20,
    max_stream_characters=1 << 20,
    max_malformed_messages=10,
    max_waiting_answers=256,
)


def stream_settings(**changes: Any) -> StreamSettings:
    """Settings of a stream; `changes` may name fields of `SpeechSettings`, too."""
    speech = {one.name: changes.pop(one.name) for one in fields(SpeechSettings) if one.name in changes}
    base = SpeechSettings("default", filler=FillerPolicy.AUTO, text_format=TextFormat.TAGS, normalize=True)
    given: dict[str, Any] = {"encoding": "pcm_f32le", "sample_rate_hz": RATE_HZ}
    return StreamSettings(**{**given, **changes, "defaults": replace(base, **speech)})


async def _neutral(description: str) -> EmotionEstimate:
    return EmotionEstimate.neutral("no analyzer")


class Talk:
    """A session, its workers, and its events with the times at which they came."""

    def __init__(
        self,
        *workers: ScriptedWorker,
        normalized: dict[str, str] | None = None,
        voice: Voice | None = None,
        server: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """`server` replaces fields of `ServerContext`, `changes` those of `StreamSettings` and `SpeechSettings`."""
        self._voice, self._server_changes = voice or Voice("default"), server or {}
        self._normalized = normalized or {}
        self.workers = {worker.info.name: worker for worker in workers or (ScriptedWorker(Script(step_s=0.02)),)}
        self.events: list[tuple[float, e.ServerEvent]] = []
        self.failure: IntoneError | None = None
        self._clock = asyncio.get_running_loop().time
        self.session = Session(stream_settings(**changes), self._server_context(), "stream")
        self._reader = asyncio.create_task(self._read(), name="test-reader")

    async def _normalize(self, written: WrittenText) -> SpokenText:
        """Replaces the real normalizer, whose process needs real time: texts are read as they are written."""
        spoken = self._normalized.get(written.text)
        if spoken is None:
            return SpokenText(as_written(written))
        return SpokenText(NormalizedText(spoken, (Piece(spoken, 0, len(written.text), "test"),)))

    def _server_context(self) -> ServerContext:
        def find_voice(name: str) -> Voice:
            if name != "default":
                raise CallerError("voice", f"there is no voice named {name!r}", Reason.VOICE_NOT_FOUND)
            return self._voice

        given: dict[str, Any] = {
            "workers": self.workers,  # type: ignore[arg-type]
            "router": Router(),
            "plain_engine": Router().plain_engine([worker.info for worker in self.workers.values()]),
            "find_voice": find_voice,
            "segmenter": Segmenter,
            "normalize": self._normalize,
            "draw_seed": lambda: 7,
            "clock": self._clock,
            "limits": LIMITS,
            "wait_ms": WAIT_MS,
            "chunk_ms": 100,
            "analyzers": EmotionAnalyzers("none", None, _neutral),
            "forecast": TTFAForecast(),
            "filler": FillerSettings(),
            "has_fillers": True,
            "pause_scale": 0.0,  # pauses would disturb `text_of`
        }
        return ServerContext(**{**given, **self._server_changes})

    async def _read(self) -> None:
        try:
            async for event in self.session:
                self.events.append((self._clock(), event))
        except IntoneError as error:
            self.failure = error

    def start(self, utterance_id: str, *, text_timeout_ms: int | None = None, **more: Any) -> None:
        """Start an utterance; `more` are its `SpeechSettings` and `cover_after_ms`."""
        cover_after_ms = more.pop("cover_after_ms", None)
        settings = SpeechSettings(**more)
        self.session.receive(e.StartUtterance(utterance_id, settings, text_timeout_ms, cover_after_ms))

    def text(self, utterance_id: str, delta: str, end: bool = False, **more: Any) -> None:
        """Send text."""
        self.session.receive(e.TextInput(utterance_id, delta, end, **more))

    def interrupt(self, *utterance_ids: str, interrupt_id: str = "", played: tuple[str, int] | None = None) -> None:
        """Interrupt utterances, or all."""
        position = None if played is None else e.AudioPosition(*played)
        self.session.receive(e.Interrupt(interrupt_id, utterance_ids, position))

    def report(self, utterance_id: str, sample: int) -> None:
        """Report the position of playback."""
        self.session.receive(e.PlaybackProgress(e.AudioPosition(utterance_id, sample)))

    async def finish(self) -> None:
        """Half-close and read to the end of the events."""
        self.session.half_close()
        await self._reader

    @property
    def cuts(self) -> list[e.Cut]:
        """Of all interruptions."""
        return [cut for interrupted in self.of(e.Interrupted) for cut in interrupted.cuts]

    async def close(self) -> None:
        """Stop the session and its reader."""
        await self.session.close()
        self._reader.cancel()
        await asyncio.wait({self._reader})

    def of(self, kind: type, utterance_id: str | None = None) -> list[Any]:
        """Events of a type, of one utterance or of all."""
        found = [event for _, event in self.events if isinstance(event, kind)]
        return [event for event in found if utterance_id is None or event.utterance_id == utterance_id]

    def time_of(self, kind: type) -> float:
        """When the first event of a type came."""
        return next(at for at, event in self.events if isinstance(event, kind))

    def spoken_text(self, utterance_id: str) -> str:
        """The text recovered from the speech of an utterance."""
        speech = [chunk for chunk in self.of(e.AudioChunk, utterance_id) if chunk.kind is e.AudioKind.SPEECH]
        data = b"".join(chunk.data for chunk in speech)
        return text_of(np.frombuffer(data, np.float32))
