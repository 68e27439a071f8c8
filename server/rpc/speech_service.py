"""SpeechService over gRPC: one reader and one writer for each stream, errors as statuses. No policy of its own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import grpc
from grpc_status import rpc_status

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.config import Config
from intone.server.conversation.context import ServerContext
from intone.server.conversation.session import Session
from intone.server.emotion.tags import without_tags
from intone.server.errors import CallerError, Fault, IntoneError, OverloadError, ShutdownError
from intone.server.events import Done, DoneReason, ServerEvent, StreamSettings, TextInput
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.wire import requests, responses
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.rpc.wire.status import to_status
from intone.server.runtime.worker import Worker
from intone.server.text.characters import check_text

log = logging.getLogger(__name__)

MAX_ANALYZED_CHARACTERS = 1000

RETRY_AFTER_S = 1.0
"""What a client that finds the server full is told to wait."""


@contextlib.asynccontextmanager
async def answering(context: Any) -> AsyncIterator[None]:
    """Turns what is raised inside into the status of the call. The only place where failures become statuses."""
    try:
        yield
    except IntoneError as error:
        status = to_status(error)
    except grpc.aio.AbortError:
        raise
    except Exception:  # the service's boundary: a bug of ours must not look like one of the client's
        log.exception("a call failed")
        status = to_status(RuntimeError())
    else:
        return
    await context.abort_with_status(rpc_status.to_status(status))


class SpeechService(speech_pb2_grpc.SpeechServiceServicer):
    """The four methods of `intone.v1.SpeechService`."""

    def __init__(self, config: Config, server: ServerContext, metrics: Metrics) -> None:
        self._config, self._server, self._metrics = config, server, metrics
        self._sessions: set[Session] = set()
        self._draining = False

    @property
    def open_streams(self) -> int:
        """Streams that are open now."""
        return len(self._sessions)

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The engines by name; for tests and benchmarks that look inside."""
        return self._server.workers

    def drain(self) -> None:
        """Refuse new streams; let open ones finish what they have begun."""
        self._draining = True
        for session in self._sessions:
            session.drain()

    # ---- methods

    async def StreamSynthesize(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[speech_pb2.StreamSynthesizeResponse]:
        """One conversation."""
        async with answering(context):
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
        """One text, by the same path as a conversation of one utterance."""
        async with answering(context):
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
        async with answering(context):
            if isinstance(request, Undecodable):
                raise request.error
            check_text(request.text, "text", MAX_ANALYZED_CHARACTERS)
            if not request.text.strip():
                raise CallerError("text", "is blank; there is no emotion in it")
            analyze = self._server.analyzers.analyze_text
            if analyze is None:
                words = "this server reads no emotions: start it with --emotion-analyzer lexicon"
                raise CallerError("", words, Fault.PRECONDITION)
            return responses.emotion_estimate(await analyze(without_tags(request.text)))
        raise AssertionError("abort always raises")

    async def GetServerInfo(self, request: Any, context: Any) -> speech_pb2.GetServerInfoResponse:
        """What this server is."""
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
        """The settings of a stream, from its first message."""
        try:
            first = await asyncio.wait_for(anext(messages), self._config.config_timeout_s)
        except StopAsyncIteration:
            raise CallerError("config", "must be the first message of a stream, but the stream was closed") from None
        except asyncio.TimeoutError:  # noqa: UP041  (another class before Python 3.11)
            words = f"did not come within {self._config.config_timeout_s:g} s"
            raise CallerError("config", words, Fault.TIMEOUT) from None
        settings = requests.first_message(first, self._defaults())
        self._check_names(settings)
        return settings

    def _single(self, request: Any) -> StreamSettings:
        """The settings of one text; the text itself is checked too."""
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
        """A session, if there is room for one."""
        if self._draining:
            raise ShutdownError("the server is shutting down: reconnect")
        if len(self._sessions) >= self._config.max_streams:
            words = f"{len(self._sessions)} streams are open, as many as this server takes"
            raise OverloadError(words, RETRY_AFTER_S)
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
        except Exception as error:  # the service's boundary: without its reader a stream would wait for ever
            log.exception("reading a stream failed")
            session.fail(error)

    async def _watch(self, session: Session) -> None:
        """End a stream on which nothing happens."""
        limit_s = self._config.idle_timeout_s
        while True:
            left_s = session.active_s + limit_s - self._server.clock()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        words = f"nothing happened on this stream for {limit_s:g} s"
        session.fail(CallerError("", words, Fault.TIMEOUT))


async def _stop(session: Session, tasks: list["asyncio.Task[None]"]) -> None:
    """Whatever ended the stream, leave nothing of it behind."""
    for task in tasks:
        task.cancel()
    await session.close()
    if tasks:
        await asyncio.wait(tasks)


def _raise_if_rejected(event: ServerEvent) -> None:
    """In a call of one text, what is wrong with the text is the status of the call."""
    if isinstance(event, Done) and event.reason is not DoneReason.COMPLETED and event.error is not None:
        if isinstance(event.error, CallerError) and event.error.field == "text.delta":
            raise CallerError("text", event.error.message, event.error.fault)
        raise event.error
