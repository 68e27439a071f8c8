"""`SpeechClient`: a connection to an intone server."""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any

import grpc

from intone.client.connection import RPC_TIMEOUT_S, call_metadata, open_channel
from intone.client.conversation import Conversation
from intone.client.errors import from_rpc_error
from intone.client.events import Event
from intone.client.settings import MAX_LEAD_LIMIT_MS, StreamSettings
from intone.client.speaking import TextLike, speak
from intone.client.speech import ConversationLog, Speech
from intone.client.voices import Voices
from intone.proto import speech_pb2, speech_pb2_grpc

_SERVING = b"\x08\x01"
"""A serialized `grpc.health.v1.HealthCheckResponse` with the status SERVING."""


class SpeechClient:
    """A connection to a server; an asynchronous context manager.

    ```python
    async with SpeechClient("127.0.0.1:50051") as client:
        speech = await client.say("Hello there.")
    ```

    Args:
        target: "host:port".
        credentials: from `tls`; None connects without encryption.
        token: bearer token, sent with every call.
        reconnects: how often a conversation that is lost before its first audio is opened again.
        clock: monotonic clock in seconds for the timestamps of events.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        reconnects: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self._credentials = credentials
        self._metadata = call_metadata(token)
        self._reconnects = reconnects
        self._clock = clock
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "SpeechClient":
        self._channel = open_channel(self.target, self._credentials)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._channel is not None
        await self._channel.close()
        self._channel = None

    @property
    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError("the client is not connected: use `async with SpeechClient(…) as client:`")
        return self._channel

    @property
    def voices(self) -> Voices:
        """The voices of the server."""
        return Voices(self._open_channel, self._metadata)

    async def server_info(self) -> speech_pb2.GetServerInfoResponse:
        """Get the server's version, engines, default voice and limits.

        Raises:
            IntoneCallError: the server refused or cannot be reached.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        return await self._ask(stub.GetServerInfo, speech_pb2.GetServerInfoRequest())  # type: ignore[no-any-return]

    async def analyze_emotion(self, text: str) -> speech_pb2.AnalyzeEmotionResponse:
        """Analyze the emotion of a text, as the server does for utterances without an emotion.

        Raises:
            IntoneCallError: the call failed; FAILED_PRECONDITION if the server has no emotion analyzer.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        request = speech_pb2.AnalyzeEmotionRequest(text=text)
        return await self._ask(stub.AnalyzeEmotion, request)  # type: ignore[no-any-return]

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=RPC_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def serving(self) -> bool:
        """Whether the standard gRPC health service answers SERVING. False also if the server cannot be reached.

        Raises:
            IntoneCallError: the server refused the call.
        """
        # The request is empty and the answer is one number, so the messages are written here by hand instead of adding
        # a dependency on grpcio-health-checking.
        check = self._open_channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return bool(await check(b"", metadata=self._metadata, timeout=RPC_TIMEOUT_S) == _SERVING)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return False
            raise from_rpc_error(error) from error

    def converse(
        self, settings: StreamSettings | None = None, *, log: ConversationLog | None = None, **changes: Any
    ) -> Conversation:
        """Open a conversation; enter it with `async with`.

        Args:
            settings: of the stream.
            log: gets everything that is sent and received.
            changes: fields of `StreamSettings` that replace those of `settings`.

        Raises:
            TypeError: `changes` has an unknown field.
            ValueError: a name in the settings is unknown.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        return Conversation(
            lambda: stub.StreamSynthesize(metadata=self._metadata),
            replace(settings or StreamSettings(), **changes).message(),
            reconnects=self._reconnects,
            log=log,
            clock=self._clock,
        )

    async def say(
        self,
        text: TextLike,
        settings: StreamSettings | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        **changes: Any,
    ) -> Speech:
        """Speak one text on a stream of its own and wait until it has ended.

        Without a lead limit in the settings, the server runs ahead of playback as far as it can.

        Args:
            text: the whole text, or an iterable of deltas as they are written.
            settings, changes: as for `converse`.
            on_event: called with each event as it arrives.

        Raises:
            IntoneCallError: the call failed, or the text was not spoken to its end.
        """
        settings = replace(settings or StreamSettings(), **changes)
        if settings.lead_limit_ms is None:
            settings = replace(settings, lead_limit_ms=MAX_LEAD_LIMIT_MS)
        log = ConversationLog()
        async with (
            self.converse(settings, log=log) as conversation,
            aclosing(speak(conversation, text, "u1")) as events,
        ):
            async for event in events:
                if on_event is not None:
                    on_event(event)
        speech = log.speech("u1")
        speech.raise_unless_completed()
        return speech
