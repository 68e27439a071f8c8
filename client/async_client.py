"""`AsyncSpeechClient`: a connection to an intone server, for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

import grpc

from intone.client.connection import (
    call_metadata,
    check_token_stays_secret,
    default_target,
    default_token,
    open_channel,
)
from intone.client.conversation import AsyncConversation
from intone.client.decoding import KINDS
from intone.client.errors import IntoneError, TimedOut, Unavailable, timed_out
from intone.client.events import Event
from intone.client.messages import from_message
from intone.client.reconnecting_call import Reconnecting
from intone.client.rpc import Rpc
from intone.client.server_info import EmotionAnalysis, EngineInfo, EngineParameter, ServerInfo, ServerLimits
from intone.client.settings import StreamOptions, StreamSettings, stream_settings
from intone.client.speech import Speech
from intone.client.stream import StreamSetup
from intone.client.text import TextLike
from intone.client.voices import AsyncVoices
from intone.proto import speech_pb2, speech_pb2_grpc

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SERVING = b"\x08\x01"
"""A serialized `grpc.health.v1.HealthCheckResponse` with the status SERVING."""

_KINDS = KINDS | {kind.__name__: kind for kind in (EngineInfo, EngineParameter, ServerLimits)}


class AsyncSpeechClient:
    """A connection to a server.

    ```python
    async with AsyncSpeechClient() as client:
        async for pcm in client.stream(llm_tokens(), voice="ada", sample_rate_hz=8000, encoding="mulaw"):
            ...
        (await client.say("Hello there.")).save("hello.wav")
    ```

    It connects with its first call and is closed by `aclose`, which ends its conversations, or by leaving its context.

    Args:
        target: "host:port"; None means `$INTONE_SERVER`, else 127.0.0.1:50051.
        token: bearer token, sent with every call; None means `$INTONE_TOKEN`, if there is one.
        credentials: from `tls`; None connects without encryption.
        allow_plaintext_token: whether the token may be sent without encryption to another machine, for instance where a
            proxy or a private network encrypts.
        timeout_s: longest wait for answers that need no speech: opening a conversation, an interruption, lists; None
            waits for ever.
        upload_timeout_s: longest time for calls that carry recordings, the making of a voice included; None for no
            limit.
        reconnect_s: how long a conversation that is lost before its first audio, or refused because the server is full,
            is opened again, and any other call that the server refuses for now is made again; 0 never. The default
            outlasts a restart of the server.
        resume: whether a conversation goes on after a lost connection, also after its first audio, as long as the
            server has the stream (10 s by default).
        on_retry: called before each further attempt with the failure and the seconds until then.
        clock: monotonic clock in seconds for the timestamps of events.

    Raises:
        ValueError: the token would be sent to another machine without encryption, and that is not allowed.
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
        self.target = target or default_target()
        self._credentials = credentials
        token = default_token() if token is None else token
        if token and not allow_plaintext_token:
            check_token_stays_secret(self.target, encrypted=credentials is not None)
        self._metadata = call_metadata(token)
        self._timeout_s = timeout_s
        self._upload_timeout_s = upload_timeout_s
        self._reconnect_s = reconnect_s
        self._resume = resume
        self._on_retry = on_retry
        self._clock = clock
        self._rpc: Rpc | None = None
        self._conversations: WeakSet[AsyncConversation] = WeakSet()

    async def open(self) -> "AsyncSpeechClient":
        """Make the client ready on the running event loop; the first call does so, too. Returns this client."""
        _ = self._ready
        return self

    async def aclose(self) -> None:
        """End all conversations and close the connection. May be called more than once."""
        await asyncio.gather(*(conversation.aclose() for conversation in list(self._conversations)))
        if self._rpc is not None:
            await self._rpc.channel.close()
            self._rpc = None

    async def __aenter__(self) -> "AsyncSpeechClient":
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def _ready(self) -> Rpc:
        if self._rpc is None:
            channel = open_channel(self.target, self._credentials)
            self._rpc = Rpc(channel, self._metadata, self._timeout_s, self._upload_timeout_s, self._reconnect_s)
        return self._rpc

    @property
    def voices(self) -> AsyncVoices:
        """The voices of the server."""
        return AsyncVoices(self._ready)

    # ---- speaking ----------------------------------------------------------------------------------------------------

    def conversation(
        self,
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> AsyncConversation:
        """Make a conversation; open it with `async with` or `open`.

        Args:
            settings: of the stream.
            timeout_s: longest wait for answers that need no speech; None means the client's.
            on_event: called with every event of the stream as it comes. What it raises ends the conversation.
            options: fields of `StreamSettings`, and of its `defaults`, that replace those of `settings`.

        Raises:
            TypeError: an option is unknown.
            ValueError: a name in the settings is unknown, or the emotion cannot be read.
        """
        rpc = self._ready
        stub = speech_pb2_grpc.SpeechServiceStub(rpc.channel)
        setup = StreamSetup(
            calls=Reconnecting(
                open_call=lambda: stub.StreamSynthesize(metadata=rpc.metadata),
                timeout_s=self._timeout_s if timeout_s is None else timeout_s,
                reconnect_s=self._reconnect_s,
                on_retry=self._on_retry,
            ),
            resume=self._resume,
            upload=self._upload,
            on_event=on_event,
            clock=self._clock,
        )
        conversation = AsyncConversation(stream_settings(settings, options), setup)
        self._conversations.add(conversation)
        return conversation

    async def _upload(self, clip: Path) -> str:
        return (await self.voices.upload_emotion_clip(clip)).clip_id

    async def stream(
        self,
        text: TextLike,
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> AsyncGenerator[bytes, None]:
        """Speak one text on a stream of its own: an iterator of the samples, as they arrive.

        The audio comes at the pace of a listener, a lead ahead; pass `service_class="offline"` to get it as fast as it
        is made.

        Args:
            text: the whole text, or its deltas as they are written, such as the output of a language model. An
                iterator that is not a list or a tuple is read in a thread of its own, so it may block.
            settings, on_event, options: as for `conversation`.
            timeout_s: longest wait for the next event of the server; None waits as long as the text takes.

        Yields:
            Samples without a header, in the format of the settings; 16-bit PCM by default.

        Raises:
            IntoneError: the call failed, the text was not spoken to its end, or TimedOut.
            TypeError, ValueError, OSError: as for `conversation` and `AsyncConversation.open`.
        """
        async with self.conversation(settings, on_event=on_event, **options) as talk:
            async for pcm in talk.utterance().speak(text).audio_once(timeout_s):
                yield pcm

    async def say(
        self,
        text: TextLike,
        settings: StreamSettings | None = None,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: "Unpack[StreamOptions]",
    ) -> Speech:
        """Speak one text on a stream of its own and wait until it has ended.

        The service class is "offline" unless another one is given: the audio is made as fast as it can be, without
        fillers.

        Args:
            text, settings, on_event, options: as for `stream`.
            timeout_s: longest time that all of it may take; None waits as long as the speech lasts.

        Raises:
            IntoneError: as for `stream`.
            TypeError, ValueError, OSError: as for `stream`.
        """
        if settings is None or settings.service_class is None:
            options.setdefault("service_class", "offline")
        try:
            return await asyncio.wait_for(self._say(text, settings, on_event, options), timeout_s)
        except asyncio.TimeoutError:  # noqa: UP041 (Python 3.10)
            raise timed_out("end of the speech", timeout_s or 0.0) from None

    async def _say(
        self,
        text: TextLike,
        settings: StreamSettings | None,
        on_event: Callable[[Event], None] | None,
        options: StreamOptions,
    ) -> Speech:
        async with self.conversation(settings, on_event=on_event, **options) as talk:
            turn = talk.utterance().speak(text)
            await turn.done()
            turn.speech.raise_unless_completed()
            return turn.speech

    # ---- the server --------------------------------------------------------------------------------------------------

    async def server_info(self) -> ServerInfo:
        """Get the server's version, engines, defaults and limits.

        Raises:
            IntoneError: the server refused or cannot be reached.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._ready.channel)
        return from_message(
            ServerInfo, await self._ready.ask(stub.GetServerInfo, speech_pb2.GetServerInfoRequest()), _KINDS
        )

    async def analyze_emotion(self, text: str) -> EmotionAnalysis:
        """Analyze the emotion of a text of 1 to 1000 characters, as the server does for utterances without one.

        Raises:
            IntoneError: the call failed; FailedPrecondition if the server has no emotion analyzer.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._ready.channel)
        request = speech_pb2.AnalyzeEmotionRequest(text=text)
        return from_message(EmotionAnalysis, await self._ready.ask(stub.AnalyzeEmotion, request), _KINDS)

    async def serving(self) -> bool:
        """Whether the standard gRPC health service answers SERVING. False also if the server cannot be reached.

        Raises:
            IntoneError: the server refused the call.
        """
        # The request is empty and the answer is one number, so the messages are written here by hand instead of adding
        # a dependency on grpcio-health-checking.
        check = self._ready.channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return bool(await self._ready.ask(check, b"") == _SERVING)
        except (Unavailable, TimedOut):
            return False
