"""SpeechService over gRPC: connects each call to a session, and decides which calls are admitted."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.call_context import add_to_call, sends_audio
from intone.server.config import Config
from intone.server.conversation.context import ServerContext
from intone.server.conversation.held_streams import HeldStreams, Resume, Stream
from intone.server.conversation.session import Session
from intone.server.emotion.cues import read_cues
from intone.server.emotion.labels import known_labels
from intone.server.errors import CallerError, IntoneError, Reason, ShutdownError
from intone.server.events import Done, NoticeCode, ServerEvent, TextInput, Usage
from intone.server.logs import fields
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.rpc.admission import Admission
from intone.server.rpc.caller import principal
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.quotas import Quota, caller_of
from intone.server.rpc.rates import CallerRates, StreamRates
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.wire import requests, responses
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.runtime.worker import Worker
from intone.server.settings import FillerPolicy, SpeechSettings, StreamSettings
from intone.server.text.characters import check_text
from intone.server.text.cues import TextFormat, join_texts

logger = logging.getLogger(__name__)

MAX_ANALYZED_CHARACTERS = 1000

UTTERANCE_ID = "u1"
"""Id of the only utterance of a `Synthesize` call."""


class SpeechService(speech_pb2_grpc.SpeechServiceServicer):
    """The four methods of `intone.v1.SpeechService`."""

    def __init__(self, config: Config, server: ServerContext, metrics: Metrics) -> None:
        self._config, self._server, self._metrics = config, server, metrics
        self._sessions: set[Session] = set()
        self._held = HeldStreams(config.resume_s, config.max_held_streams, config.max_resume_bytes)
        own_limit = config.max_streams_per_caller or config.max_streams
        self._places = Quota("streams", "max_streams", Reason.STREAMS_EXHAUSTED, config.max_streams, own_limit)
        self._admission = Admission(config, server)
        self._analysis_rates = CallerRates(config)
        self._draining = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    @property
    def open_streams(self) -> int:
        """Number of open streams."""
        return len(self._sessions)

    @property
    def queued(self) -> tuple[int, int, float]:
        """Of all streams: `Session.queued`."""
        queues = [session.queued for session in self._sessions] or [(0, 0, 0.0)]
        utterances, events, audio_ms = zip(*queues, strict=True)
        return sum(utterances), sum(events), sum(audio_ms)

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The engines by name, for tests and benchmarks."""
        return self._server.workers

    async def drain(self, grace_s: float) -> None:
        """Refuse new streams; let open ones finish and play their utterances; end those that take longer than this."""
        self._draining = True
        await self._held.drain()
        for session in self._sessions:
            session.drain(round(1000 * grace_s))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_closed.wait(), grace_s)
        for session in self._sessions:
            session.fail(ShutdownError("the server has shut down: connect again"))

    # ---- methods

    async def StreamSynthesize(
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[speech_pb2.StreamSynthesizeResponse]:
        """One conversation, or the rest of one whose connection was lost."""
        async with errors_as_status(context):
            try:
                opening = await self._opening(request_iterator)
                if isinstance(opening, Resume):
                    stream = self._held.resume(opening, principal().name)
                    add_to_call(stream=stream.session.stream_id)
                else:
                    stream = self._open(opening, context)
            except IntoneError as error:
                yield speech_pb2.StreamSynthesizeResponse(closed=responses.closed(error, Usage()))
                raise
            received_count = stream.session.received_count
            sends_audio(lambda: stream.session.unplayed_s)
            async with stream.connected(self._read(request_iterator, stream), self._watch(stream.session)):
                if isinstance(opening, Resume):
                    yield speech_pb2.StreamSynthesizeResponse(resumed=responses.resumed(received_count))
                    for event in stream.missed:
                        yield responses.response(event, stream.settings)
                async for event in stream:
                    self._metrics.observe(event)
                    yield responses.response(event, stream.settings)

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[speech_pb2.SynthesizeResponse]:
        """One text: a session with one utterance."""
        async with errors_as_status(context):
            settings = self._single(request)
            with self._session(settings, context) as session:
                try:
                    sends_audio(lambda: session.unplayed_s)
                    session.receive(TextInput(UTTERANCE_ID, request.text, end=True))
                    session.half_close()
                    async for event in session:
                        self._metrics.observe(event)
                        _raise_if_failed(event)
                        response = responses.single_response(event, settings)
                        if response is not None:
                            yield response
                finally:
                    await session.close()

    async def AnalyzeEmotion(self, request: Any, context: Any) -> speech_pb2.AnalyzeEmotionResponse:
        """The emotion that a text suggests."""
        async with errors_as_status(context):
            if isinstance(request, Undecodable):
                raise request.error
            check_text(request.text, "text", MAX_ANALYZED_CHARACTERS)
            if not request.text.strip():
                raise CallerError("text", "is blank", Reason.VALUE_MISSING)
            analyze = self._server.analyzers.analyze_text
            if analyze is None:
                message = "this server has no emotion analyzer: start it with --emotion-analyzer lexicon"
                raise CallerError("", message, Reason.ANALYZER_UNAVAILABLE)
            if (wait_s := self._analysis_rates.wait_s(caller_of(context), len(request.text))) > 0:
                self._metrics.throttled(wait_s)
                await asyncio.sleep(wait_s)
            return responses.emotion_estimate(await analyze(join_texts(read_cues(request.text)).text.text))
        raise AssertionError("abort always raises")

    async def GetServerInfo(self, request: Any, context: Any) -> speech_pb2.GetServerInfoResponse:
        """Engines, defaults and limits of this server."""
        config, server = self._config, self._server
        workers = sorted(server.workers.values(), key=lambda worker: worker.info.name != server.plain_engine)
        return speech_pb2.GetServerInfoResponse(
            version=responses.SERVER_VERSION,
            engines=[self._engine(worker) for worker in workers],
            emotion_analyzer=server.analyzers.name,
            default_voice=config.default_voice,
            default_sample_rate_hz=self._defaults().sample_rate_hz,
            open_stream_count=self.open_streams,
            features=server.features,
            emotion_labels=known_labels(),
            limits=speech_pb2.ServerLimits(
                stream=responses.stream_limits(server.limits, config.max_lead_ms),
                max_streams=config.max_streams,
                max_recording_bytes=config.max_recording_bytes,
                min_recording_ms=config.min_recording_ms,
                max_recording_ms=config.max_recording_ms,
            ),
        )

    # ---- parts

    def _engine(self, worker: Worker) -> speech_pb2.EngineInfo:
        expected_ms = self._server.forecast.ttfa_ms(worker.info.name, TYPICAL_CHARACTERS, worker.active)
        return responses.engine_info(self._server.limited(worker.info), not worker.failing, expected_ms, worker.load)

    async def _opening(self, messages: AsyncIterator[Any]) -> StreamSettings | Resume:
        """The settings of a stream, or which one is resumed: its first message, which may take `config_timeout_s`."""
        try:
            first = await asyncio.wait_for(anext(messages), self._config.config_timeout_s)
        except StopAsyncIteration:
            message = "must be the first message of a stream, but the stream was closed"
            raise CallerError("config", message, Reason.CONFIG_MISSING) from None
        except asyncio.TimeoutError:  # noqa: UP041  (another class before Python 3.11)
            message = f"did not come within {self._config.config_timeout_s:g} s"
            raise CallerError("config", message, Reason.CONFIG_TIMEOUT) from None
        opening = requests.first_message(first, self._defaults())
        if not isinstance(opening, Resume):
            self._server.check_settings(opening.defaults, "config.defaults")
        return opening

    def _open(self, settings: StreamSettings, context: Any) -> Stream:
        """A new stream."""
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(self._session(settings, context))
            return self._held.open(session, settings, principal().name, stack.pop_all().close)

    def _single(self, request: Any) -> StreamSettings:
        """The settings of a call with one text. Checks the text, too."""
        if isinstance(request, Undecodable):
            raise request.error
        if not request.text:
            raise CallerError("text", "is empty", Reason.VALUE_MISSING)
        check_text(request.text, "text", self._config.max_utterance_characters)
        defaults = replace(self._defaults(), service_class=speech_pb2.SERVICE_CLASS_OFFLINE)
        settings = requests.stream_settings(request.config, defaults)
        self._server.check_settings(settings.defaults, "config.defaults")
        return settings

    def _defaults(self) -> requests.Defaults:
        config, server = self._config, self._server
        return requests.Defaults(
            settings=SpeechSettings(
                voice=config.default_voice,
                filler=FillerPolicy.AUTO,
                text_format=TextFormat.TAGS,
                normalize=config.normalize,
            ),
            sample_rate_hz=server.workers[server.plain_engine].info.sample_rate_hz,
            max_lead_ms=config.max_lead_ms,
            max_text_characters=config.max_text_characters,
            find_clip=self._server.find_clip,
        )

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise ShutdownError("the server is shutting down: connect again")

    @contextlib.contextmanager
    def _session(self, settings: StreamSettings, context: Any) -> Iterator[Session]:
        """A new session.

        Raises:
            ShutdownError: the server is draining.
            OverloadError: there are as many streams already as there may be, or as can be spoken.
        """
        self._refuse_if_draining()
        self._admission.check(settings, self._sessions)
        with self._places.place(caller_of(context)):
            yield from self._placed_session(settings)

    def _placed_session(self, settings: StreamSettings) -> Iterator[Session]:
        session = Session(settings, self._server, stream_id=secrets.token_hex(8))
        self._sessions.add(session)
        self._all_closed.clear()
        self._metrics.streams(len(self._sessions))
        add_to_call(stream=session.stream_id)
        logger.info("stream opened", extra=fields(stream=session.stream_id, labels=dict(settings.labels) or None))
        try:
            yield session
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._all_closed.set()
            self._metrics.streams(len(self._sessions))
            usage = session.usage
            add_to_call(
                characters=usage.characters,
                units=usage.unit_count,
                speech_ms=round(usage.speech_ms),
            )

    async def _read(self, messages: AsyncIterator[Any], stream: Stream) -> None:
        defaults, rates, is_throttled = self._defaults(), StreamRates(self._config), False
        try:
            async for message in messages:
                event = requests.client_event(message, defaults)
                stream.receive(event)
                await stream.session.settle()
                if (wait_s := rates.wait_s(event)) > 0:
                    self._metrics.throttled(wait_s)
                    if not is_throttled:
                        stream.session.notify(NoticeCode.STREAM_THROTTLED, rates.words)
                    is_throttled = True
                    await asyncio.sleep(wait_s)
            if stream.resumable:
                await _time_to_be_cancelled()
            stream.session.half_close()
        except Exception as error:  # a bug; without its reader the stream would never end
            logger.exception("reading a stream failed")
            stream.session.fail(error)

    async def _watch(self, session: Session) -> None:
        """End the stream after `idle_timeout_s` without activity."""
        limit_s = self._config.idle_timeout_s
        while (left_s := limit_s - session.idle_s) > 0:  # noqa: ASYNC110  (activity is frequent, its end is not)
            await asyncio.sleep(max(left_s, 0.01))
        message = f"there was no activity on this stream for {limit_s:g} s"
        session.fail(CallerError("", message, Reason.IDLE, limit_s=limit_s))


async def _time_to_be_cancelled() -> None:
    """When a connection is lost, gRPC first ends the requests, as at a half-close, and then cancels the call.

    It takes less than a millisecond; several waits let the event loop receive the cancellation even after a standstill.
    """
    for _ in range(5):
        await asyncio.sleep(0.01)


def _raise_if_failed(event: ServerEvent) -> None:
    """In a call with one text, an error of the utterance is the status of the call."""
    if isinstance(event, Done) and event.error is not None:
        if isinstance(event.error, CallerError) and event.error.field == "text.delta":
            raise event.error.at("text")
        raise event.error
