"""SpeechService over gRPC: connects each call to a session, and decides which calls are admitted."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.config import Config
from intone.server.conversation.context import ServerContext
from intone.server.conversation.session import Session
from intone.server.emotion.tags import without_tags
from intone.server.errors import CallerError, Fault, OverloadError, ShutdownError
from intone.server.events import Done, DoneReason, ServerEvent, StreamSettings, TextInput
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.wire import requests, responses
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.runtime.worker import Worker
from intone.server.text.characters import check_text

logger = logging.getLogger(__name__)

MAX_ANALYZED_CHARACTERS = 1000

RETRY_AFTER_S = 1.0
"""Retry delay for clients that are refused because too many streams are open."""


class SpeechService(speech_pb2_grpc.SpeechServiceServicer):
    """The four methods of `intone.v1.SpeechService`."""

    def __init__(self, config: Config, server: ServerContext, metrics: Metrics) -> None:
        self._config, self._server, self._metrics = config, server, metrics
        self._sessions: set[Session] = set()
        self._draining = False

    @property
    def open_streams(self) -> int:
        """Number of open streams."""
        return len(self._sessions)

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The engines by name, for tests and benchmarks."""
        return self._server.workers

    def drain(self) -> None:
        """Refuse new streams; let open ones finish their utterances."""
        self._draining = True
        for session in self._sessions:
            session.drain()

    # ---- methods

    async def StreamSynthesize(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[speech_pb2.StreamSynthesizeResponse]:
        """One conversation."""
        async with errors_as_status(context):
            settings = await self._configured(request_iterator)
            with self._admitted(settings) as session:
                tasks = [
                    asyncio.create_task(self._read(request_iterator, session), name="reader"),
                    asyncio.create_task(self._watch(session), name="watchdog"),
                ]
                try:
                    async for event in session:
                        self._metrics.observe(event)
                        yield responses.response(event, settings)
                finally:
                    await _stop(session, tasks)

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[speech_pb2.SynthesizeResponse]:
        """One text: a session with one utterance."""
        async with errors_as_status(context):
            settings = self._single(request)
            with self._admitted(settings) as session:
                try:
                    session.receive(TextInput("utterance", request.text, end=True))
                    session.half_close()
                    async for event in session:
                        self._metrics.observe(event)
                        _raise_if_rejected(event)
                        yield responses.single_response(event, settings)
                finally:
                    await _stop(session, [])

    async def AnalyzeEmotion(self, request: Any, context: Any) -> speech_pb2.AnalyzeEmotionResponse:
        """The emotion that a text suggests."""
        async with errors_as_status(context):
            if isinstance(request, Undecodable):
                raise request.error
            check_text(request.text, "text", MAX_ANALYZED_CHARACTERS)
            if not request.text.strip():
                raise CallerError("text", "is blank")
            analyze = self._server.analyzers.analyze_text
            if analyze is None:
                message = "this server has no emotion analyzer: start it with --emotion-analyzer lexicon"
                raise CallerError("", message, Fault.PRECONDITION)
            return responses.emotion_estimate(await analyze(without_tags(request.text)))
        raise AssertionError("abort always raises")

    async def GetServerInfo(self, request: Any, context: Any) -> speech_pb2.GetServerInfoResponse:
        """Engines, defaults and limits of this server."""
        config, server = self._config, self._server
        workers = sorted(server.workers.values(), key=lambda worker: worker.info.name != server.plain_engine)
        return speech_pb2.GetServerInfoResponse(
            version=version("intone"),
            engines=[self._engine(worker) for worker in workers],
            emotion_analyzer=server.analyzers.name,
            default_voice=config.default_voice,
            default_sample_rate_hz=self._defaults().sample_rate_hz,
            open_streams=self.open_streams,
            limits=speech_pb2.ServerLimits(
                max_text_characters=config.max_text_characters,
                max_utterance_characters=config.max_utterance_characters,
                max_open_utterances=config.max_open_utterances,
                max_streams=config.max_streams,
                default_lead_limit_ms=config.max_lead_ms,
                max_recording_bytes=config.max_recording_bytes,
                min_recording_ms=config.min_recording_ms,
                max_recording_ms=config.max_recording_ms,
            ),
        )

    # ---- parts

    def _engine(self, worker: Worker) -> speech_pb2.EngineInfo:
        expected_ms = self._server.forecast.ttfa_ms(worker.info.name, TYPICAL_CHARACTERS, worker.load)
        return responses.engine_info(worker.info, not worker.failing, expected_ms, worker.load)

    async def _configured(self, messages: AsyncIterator[Any]) -> StreamSettings:
        """The settings of a stream, from its first message, which may take `config_timeout_s`."""
        try:
            first = await asyncio.wait_for(anext(messages), self._config.config_timeout_s)
        except StopAsyncIteration:
            raise CallerError("config", "must be the first message of a stream, but the stream was closed") from None
        except asyncio.TimeoutError:  # noqa: UP041  (another class before Python 3.11)
            message = f"did not come within {self._config.config_timeout_s:g} s"
            raise CallerError("config", message, Fault.TIMEOUT) from None
        settings = requests.first_message(first, self._defaults())
        self._check_names(settings)
        return settings

    def _single(self, request: Any) -> StreamSettings:
        """The settings of a call with one text. Checks the text, too."""
        if isinstance(request, Undecodable):
            raise request.error
        check_text(request.text, "text", self._config.max_text_characters)
        if not request.text.strip():
            raise CallerError("text", "is blank; there is nothing to speak")
        settings = requests.settings(request.config, self._defaults(max_lead_ms=None))
        self._check_names(settings)
        return settings

    def _check_names(self, settings: StreamSettings) -> None:
        """Refuse a voice or an engine that this server does not have."""
        loaded = self._server.workers
        if settings.engine and settings.engine not in loaded:
            message = f"there is no engine named {settings.engine[:64]!r}; the loaded engines are {', '.join(loaded)}"
            raise CallerError("config.engine", message, Fault.NOT_FOUND)
        try:
            self._server.find_voice(settings.voice)
        except CallerError as error:
            raise error.under("config") from None

    def _defaults(self, **changes: Any) -> requests.Defaults:
        config, server = self._config, self._server
        given = {
            "voice": config.default_voice,
            "sample_rate_hz": server.workers[server.plain_engine].info.sample_rate_hz,
            "max_lead_ms": config.max_lead_ms,
            "normalize": config.normalize,
            "max_text_characters": config.max_text_characters,
        }
        return requests.Defaults(**{**given, **changes})

    @contextlib.contextmanager
    def _admitted(self, settings: StreamSettings) -> Iterator[Session]:
        """A session, unless the server is draining or full."""
        if self._draining:
            raise ShutdownError("the server is shutting down: reconnect")
        if len(self._sessions) >= self._config.max_streams:
            message = f"{len(self._sessions)} streams are open, the maximum of this server"
            raise OverloadError(message, RETRY_AFTER_S)
        session = Session(settings, self._server)
        self._sessions.add(session)
        self._metrics.streams(len(self._sessions))
        try:
            yield session
        finally:
            self._sessions.discard(session)
            self._metrics.streams(len(self._sessions))

    async def _read(self, messages: AsyncIterator[Any], session: Session) -> None:
        defaults = self._defaults()
        try:
            async for message in messages:
                session.receive(requests.client_event(message, defaults))
            session.half_close()
        except Exception as error:  # a bug; without its reader the stream would never end
            logger.exception("reading a stream failed")
            session.fail(error)

    async def _watch(self, session: Session) -> None:
        """End the stream after `idle_timeout_s` without activity."""
        limit_s = self._config.idle_timeout_s
        while True:
            left_s = session.active_s + limit_s - self._server.clock()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        message = f"there was no activity on this stream for {limit_s:g} s"
        session.fail(CallerError("", message, Fault.TIMEOUT))


async def _stop(session: Session, tasks: list["asyncio.Task[None]"]) -> None:
    """Cancel the tasks of a stream and close its session, however the stream ended."""
    for task in tasks:
        task.cancel()
    await session.close()
    if tasks:
        await asyncio.wait(tasks)


def _raise_if_rejected(event: ServerEvent) -> None:
    """In a call with one text, an error of the utterance is the status of the call."""
    if isinstance(event, Done) and event.reason is not DoneReason.COMPLETED and event.error is not None:
        if isinstance(event.error, CallerError) and event.error.field == "text.delta":
            raise CallerError("text", event.error.message, event.error.fault)
        raise event.error
