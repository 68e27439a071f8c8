"""The client: one connection to a server, and what can be asked of it. Knows nothing of the server's code."""

import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any

import grpc

from intone.client.connection import ANSWER_S, call_metadata, open_channel
from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError, from_rpc_error
from intone.client.events import Done, Event
from intone.client.settings import LEAD_LIMIT_MAX_MS, Settings
from intone.client.speaking import TextLike, speak
from intone.client.speech import Speech, Trace
from intone.client.voices import Voices
from intone.proto import speech_pb2, speech_pb2_grpc

_SERVING = b"\x08\x01"
"""A `grpc.health.v1.HealthCheckResponse` with the status SERVING."""


class SpeechClient:
    """A connection, as an asynchronous context manager.

    ```python
    async with SpeechClient("127.0.0.1:50051") as client:
        speech = await client.say("Hello there.")
    ```

    Args:
        target: "host:port".
        credentials: see `connection.tls`; None means no encryption.
        token: sent as `authorization: Bearer …` with every call.
        reconnects: how often a conversation that is lost before its first audio is opened again.
        clock: seconds, monotonic; stamps events.
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
            raise RuntimeError("the client is not open: use `async with SpeechClient(…) as client:`")
        return self._channel

    @property
    def voices(self) -> Voices:
        """The voices of the server."""
        return Voices(self._open_channel, self._metadata)

    async def server_info(self) -> speech_pb2.GetServerInfoResponse:
        """What this server is: engines, formats, limits.

        Raises:
            IntoneCallError: it cannot be reached or refuses.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        return await self._ask(stub.GetServerInfo, speech_pb2.GetServerInfoRequest())  # type: ignore[no-any-return]

    async def analyze_emotion(self, text: str) -> speech_pb2.AnalyzeEmotionResponse:
        """The emotion that the server reads from a text, as it does for an utterance that asks for none.

        Raises:
            IntoneCallError: it refuses; FAILED_PRECONDITION where it reads no emotions.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        request = speech_pb2.AnalyzeEmotionRequest(text=text)
        return await self._ask(stub.AnalyzeEmotion, request)  # type: ignore[no-any-return]

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=ANSWER_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def serving(self) -> bool:
        """Whether the standard health service says SERVING. False also while the server cannot be reached.

        Raises:
            IntoneCallError: the server refuses to say.
        """
        # An empty request, and an answer of one number: two messages that are not worth a dependency.
        check = self._open_channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return bool(await check(b"", metadata=self._metadata, timeout=ANSWER_S) == _SERVING)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return False
            raise from_rpc_error(error) from error

    def converse(self, settings: Settings | None = None, *, trace: Trace | None = None, **changes: Any) -> Conversation:
        """A conversation, to be entered with `async with`.

        Args:
            settings: of the stream.
            trace: filled with everything said, both ways.
            changes: fields of `Settings` by name, in place of those of `settings`.

        Raises:
            TypeError: there is no such field.
            ValueError: a name in the settings is unknown.
        """
        stub = speech_pb2_grpc.SpeechServiceStub(self._open_channel)
        return Conversation(
            lambda: stub.StreamSynthesize(metadata=self._metadata),
            replace(settings or Settings(), **changes).message(),
            reconnects=self._reconnects,
            trace=trace,
            clock=self._clock,
        )

    async def say(
        self,
        text: TextLike,
        settings: Settings | None = None,
        *,
        on_event: Callable[[Event], None] | None = None,
        **changes: Any,
    ) -> Speech:
        """Speak one text and wait for all of it. Where no lead limit is given the server runs ahead as far as it can.

        Args:
            text: whole, or an iterable of pieces as they are written.
            on_event: told of each event as it comes.

        Raises:
            IntoneCallError: it was not spoken to its end.
        """
        settings = replace(settings or Settings(), **changes)
        if settings.lead_limit_ms is None:
            settings = replace(settings, lead_limit_ms=LEAD_LIMIT_MAX_MS)
        trace = Trace()
        async with (
            self.converse(settings, trace=trace) as conversation,
            aclosing(speak(conversation, text, "u1")) as events,
        ):
            async for event in events:
                if on_event is not None:
                    on_event(event)
        return completed(trace.speech("u1"))


def completed(speech: Speech) -> Speech:
    """The same speech, if it was spoken to its end.

    Raises:
        IntoneCallError: it was not; says why.
    """
    ended = speech.ended
    if isinstance(ended, Done) and ended.reason == "completed":
        return speech
    if isinstance(ended, Done):
        raise ended.error or IntoneCallError(grpc.StatusCode.UNKNOWN, f"the speech ended as {ended.reason}")
    raise IntoneCallError(grpc.StatusCode.CANCELLED, "the speech was cut off before its end")
