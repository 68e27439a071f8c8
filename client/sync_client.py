"""`SpeechClient`: a connection to an intone server for code without asyncio.

Its classes do what the asynchronous ones of the same name with `Async` do, on an event loop in a thread of their own,
and wait for the result. They may be used from several threads at once.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import grpc

from intone.client.async_client import AsyncSpeechClient
from intone.client.conversation import AsyncConversation
from intone.client.errors import IntoneError
from intone.client.events import AudioPosition, Configured, Cut, Done, Event, GoingAway, Notice, TimedWord, Usage
from intone.client.loop_thread import LoopThread
from intone.client.server_info import EmotionAnalysis, ServerInfo
from intone.client.settings import SpeechOptions, SpeechSettings, StreamOptions, StreamSettings
from intone.client.speech import Speech
from intone.client.utterance import AsyncUtterance
from intone.client.voices import AsyncVoices, CreatedVoice, EmotionClip, FillerClip, RemovedFillers, Voice

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Utterance:
    """One utterance, as `AsyncUtterance`; made by `Conversation.utterance`."""

    def __init__(self, loop: LoopThread, utterance: AsyncUtterance) -> None:
        self._loop = loop
        self._utterance = utterance
        self.id = utterance.id

    def start(self) -> None:
        """As `AsyncUtterance.start`."""
        self._loop.run(self._utterance.start())

    def send(self, delta: str) -> None:
        """As `AsyncUtterance.send`."""
        self._loop.run(self._utterance.send(delta))

    def end(self) -> None:
        """As `AsyncUtterance.end`."""
        self._loop.run(self._utterance.end())

    def speak(self, text: str | Iterable[str]) -> "Utterance":
        """As `AsyncUtterance.speak`: sends in the background, and an iterator is read in a thread of its own."""
        self._loop.call(lambda: self._utterance.speak(text))
        return self

    def flush(self, timeout_s: float | None = None) -> None:
        """As `AsyncUtterance.flush`."""
        self._loop.run(self._utterance.flush(timeout_s))

    def interrupt(self, position: AudioPosition | None = None) -> Cut | None:
        """As `AsyncUtterance.interrupt`. May be called from another thread than the one that reads."""
        return self._loop.run(self._utterance.interrupt(position))

    def audio(self, timeout_s: float | None = None) -> Iterator[bytes]:
        """As `AsyncUtterance.audio`."""
        return self._loop.iterate(self._utterance.audio(timeout_s))

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """As `AsyncUtterance.events`."""
        return self._loop.iterate(self._utterance.events(timeout_s))

    def words(self, timeout_s: float | None = None) -> Iterator[TimedWord]:
        """As `AsyncUtterance.words`."""
        return self._loop.iterate(self._utterance.words(timeout_s))

    def done(self, timeout_s: float | None = None) -> Done:
        """As `AsyncUtterance.done`."""
        return self._loop.run(self._utterance.done(timeout_s))

    @property
    def ended(self) -> bool:
        """As `AsyncUtterance.ended`."""
        return self._utterance.ended

    @property
    def interrupted(self) -> bool:
        """As `AsyncUtterance.interrupted`."""
        return self._utterance.interrupted

    @property
    def cut(self) -> Cut | None:
        """As `AsyncUtterance.cut`."""
        return self._utterance.cut

    @property
    def speech(self) -> Speech:
        """As `AsyncUtterance.speech`."""
        return self._loop.call(lambda: self._utterance.speech)


class Conversation:
    """A stream of utterances, as `AsyncConversation`; made by `SpeechClient.conversation`."""

    def __init__(self, loop: LoopThread, conversation: AsyncConversation) -> None:
        self._loop = loop
        self._conversation = conversation

    def open(self) -> "Conversation":
        """As `AsyncConversation.open`."""
        self._loop.run(self._conversation.open())
        return self

    def close(self) -> None:
        """As `AsyncConversation.aclose`."""
        self._loop.run(self._conversation.aclose())

    def __enter__(self) -> "Conversation":
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def finish(self, timeout_s: float | None = None) -> Usage:
        """As `AsyncConversation.finish`."""
        return self._loop.run(self._conversation.finish(timeout_s))

    @property
    def configured(self) -> Configured:
        """As `AsyncConversation.configured`."""
        return self._conversation.configured

    def utterance(
        self,
        settings: SpeechSettings | None = None,
        *,
        id: str | None = None,
        text_timeout_ms: int | None = None,
        cover_after_ms: int | None = None,
        **options: "Unpack[SpeechOptions]",
    ) -> Utterance:
        """As `AsyncConversation.utterance`."""
        times = {"text_timeout_ms": text_timeout_ms, "cover_after_ms": cover_after_ms}
        make = self._conversation.utterance
        return Utterance(self._loop, self._loop.call(lambda: make(settings, id=id, **times, **options)))

    def interrupt(self, *utterances: Utterance | str, position: AudioPosition | None = None) -> tuple[Cut, ...]:
        """As `AsyncConversation.interrupt`."""
        ids = [one if isinstance(one, str) else one.id for one in utterances]
        return self._loop.run(self._conversation.interrupt(*ids, position=position))

    def flush(self, timeout_s: float | None = None) -> None:
        """As `AsyncConversation.flush`."""
        self._loop.run(self._conversation.flush(timeout_s))

    def report_playback(self, position: AudioPosition) -> None:
        """As `AsyncConversation.report_playback`."""
        self._loop.run(self._conversation.report_playback(position))

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """As `AsyncConversation.events`."""
        return self._loop.iterate(self._conversation.events(timeout_s))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """As `AsyncConversation.notices`."""
        return self._conversation.notices

    @property
    def going_away(self) -> GoingAway | None:
        """As `AsyncConversation.going_away`."""
        return self._conversation.going_away


class Voices:
    """The voices of a server, as `AsyncVoices`; at `SpeechClient.voices`."""

    def __init__(self, loop: LoopThread, voices: AsyncVoices) -> None:
        self._loop = loop
        self._voices = voices

    def list(self) -> "list[Voice]":
        """As `AsyncVoices.list`."""
        return self._loop.run(self._voices.list())

    def get(self, name: str) -> Voice:
        """As `AsyncVoices.get`."""
        return self._loop.run(self._voices.get(name))

    def delete(self, name: str) -> None:
        """As `AsyncVoices.delete`."""
        self._loop.run(self._voices.delete(name))

    def add_fillers(self, voice: str, clips: Sequence[FillerClip]) -> Voice:
        """As `AsyncVoices.add_fillers`."""
        return self._loop.run(self._voices.add_fillers(voice, clips))

    def remove_fillers(self, voice: str, *, emotion: str = "", language: str = "", text: str = "") -> RemovedFillers:
        """As `AsyncVoices.remove_fillers`."""
        return self._loop.run(self._voices.remove_fillers(voice, emotion=emotion, language=language, text=text))

    def share(self, name: str, shared_with: Sequence[str]) -> Voice:
        """As `AsyncVoices.share`."""
        return self._loop.run(self._voices.share(name, shared_with))

    def upload_emotion_clip(self, clip: Path | str | bytes) -> EmotionClip:
        """As `AsyncVoices.upload_emotion_clip`."""
        return self._loop.run(self._voices.upload_emotion_clip(clip))

    def create(
        self,
        recording: Path,
        name: str,
        *,
        transcript: str = "",
        replace: bool = False,
        languages: Sequence[str] = (),
        description: str = "",
        labels: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CreatedVoice:
        """As `AsyncVoices.create`."""
        creating = self._voices.create(
            recording,
            name,
            transcript=transcript,
            replace=replace,
            languages=languages,
            description=description,
            labels=labels,
            progress=progress,
        )
        return self._loop.run(creating)


class SpeechClient:
    """A connection to a server, as `AsyncSpeechClient`, with iterators in place of asynchronous ones.

    ```python
    with SpeechClient() as client:
        for pcm in client.stream(llm_tokens(), voice="ada"):
            ...
        client.say("Hello there.").save("hello.wav")
    ```

    It is ready at once and is closed by `close` or by leaving its context, which also ends its thread. The arguments
    are those of `AsyncSpeechClient`. Callbacks are called in the client's thread and must not call the client.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        allow_plaintext_token: bool = False,
        timeout_s: float | None = 20.0,
        upload_timeout_s: float | None = 300.0,
        reconnect_s: float = 30.0,
        resume: bool = True,
        on_retry: Callable[[IntoneError, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = AsyncSpeechClient(
            target,
            token=token,
            credentials=credentials,
            allow_plaintext_token=allow_plaintext_token,
            timeout_s=timeout_s,
            upload_timeout_s=upload_timeout_s,
            reconnect_s=reconnect_s,
            resume=resume,
            on_retry=on_retry,
            clock=clock,
        )
        self.target = self._client.target
        self._loop = LoopThread()

    def open(self) -> "SpeechClient":
        """As `AsyncSpeechClient.open`."""
        self._loop.run(self._client.open())
        return self

    def close(self) -> None:
        """End all conversations, close the connection, and end the thread. May be called more than once."""
        if not self._loop.closed:
            self._loop.run(self._client.aclose())
            self._loop.close()

    def __enter__(self) -> "SpeechClient":
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def voices(self) -> Voices:
        """The voices of the server."""
        return Voices(self._loop, self._loop.call(lambda: self._client.voices))

    def conversation(
        self,
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> Conversation:
        """As `AsyncSpeechClient.conversation`."""
        make = self._client.conversation
        return Conversation(
            self._loop,
            self._loop.call(lambda: make(settings, timeout_s=timeout_s, on_event=on_event, **options)),
        )

    def stream(
        self,
        text: str | Iterable[str],
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> Iterator[bytes]:
        """As `AsyncSpeechClient.stream`."""
        return self._loop.iterate(
            self._client.stream(text, settings, timeout_s=timeout_s, on_event=on_event, **options)
        )

    def say(
        self,
        text: str | Iterable[str],
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> Speech:
        """As `AsyncSpeechClient.say`."""
        return self._loop.run(self._client.say(text, settings, timeout_s=timeout_s, on_event=on_event, **options))

    def server_info(self) -> ServerInfo:
        """As `AsyncSpeechClient.server_info`."""
        return self._loop.run(self._client.server_info())

    def analyze_emotion(self, text: str) -> EmotionAnalysis:
        """As `AsyncSpeechClient.analyze_emotion`."""
        return self._loop.run(self._client.analyze_emotion(text))

    def serving(self) -> bool:
        """As `AsyncSpeechClient.serving`."""
        return self._loop.run(self._client.serving())
