"""The composition root: loads the engines, wires the services, serves, and shuts down gracefully."""

import asyncio
import contextlib
import gc
import logging
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from intone.proto import speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
from intone.server.config import Config
from intone.server.conversation.context import FillerSettings, ServerContext
from intone.server.emotion.analyzers import EmotionAnalyzers, load_emotion_analyzers
from intone.server.emotion.cues import read_cues
from intone.server.engines.base import Engine
from intone.server.errors import ConfigError
from intone.server.routing.router import Router
from intone.server.routing.ttfa_forecast import TTFAForecast
from intone.server.rpc import voice_access
from intone.server.rpc.authentication import Authentication
from intone.server.rpc.call_limits import CallLimits, max_grpc_calls
from intone.server.rpc.caller import principal
from intone.server.rpc.collectors import ChildProcessMetrics, StreamMetrics, TextMetrics, VoiceMetrics
from intone.server.rpc.connections import channel_options, max_message_bytes
from intone.server.rpc.interceptors import Decoding
from intone.server.rpc.late_services import LateServices
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.monitoring import Monitoring
from intone.server.rpc.observation import Observation
from intone.server.rpc.speech_service import SpeechService
from intone.server.rpc.tls import server_credentials
from intone.server.rpc.tracing import tracing
from intone.server.rpc.voice_service import VoiceService
from intone.server.runtime.debug_switch import debug_switch
from intone.server.runtime.fetching import fetch_models
from intone.server.runtime.file_limit import raise_file_limit
from intone.server.runtime.launching import Progress, launch_workers
from intone.server.runtime.loading import loaders
from intone.server.runtime.stop_signals import stop_signals, until
from intone.server.runtime.text_pool import PROCESSES, TextPool
from intone.server.runtime.thread_pools import ThreadPools
from intone.server.runtime.worker import Worker
from intone.server.settings import StreamLimits
from intone.server.storage import atomic_write
from intone.server.text.normalizer import WrittenText
from intone.server.text.segmenter import Segmenter
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.emotion_clips import MAX_EMOTION_CLIP_BYTES, EmotionClips
from intone.server.voices.enrolment import add_own_voices, open_store, prepare_stored
from intone.server.voices.store import VoiceStore

logger = logging.getLogger(__name__)

SERVICES = (
    speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name,
    voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name,
)

CLOSE_S = 2.0
"""Time for the last messages of streams that are ended at the end of the grace time."""

FEATURES = ("pronunciations", "ssml", "resume")
"""What this server can do beyond the first version of the protocol, see `Configured.features`."""


class App:
    """A running server; made by `serving`, ended by `stop`."""

    def __init__(
        self,
        server: Any,
        port: int,
        monitoring: Monitoring,
        service: SpeechService,
        voices: VoiceService,
        store: VoiceStore,
        background_renderer: BackgroundRenderer,
        drain_s: float,
    ) -> None:
        self.port, self.store, self.background_renderer = port, store, background_renderer
        self._server, self._monitoring = server, monitoring
        self._service, self._voices, self._drain_s = service, voices, drain_s
        self._background_task = asyncio.create_task(background_renderer.run(), name="background_renderer")
        self._background_task.add_done_callback(_log_failure)

    @property
    def service(self) -> SpeechService:
        """The speech service, for tests and benchmarks."""
        return self._service

    @property
    def metrics(self) -> Metrics:
        """The metrics, for tests and benchmarks."""
        return self._monitoring.metrics

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain and stop: health becomes NOT_SERVING, no stream opens, open ones finish and play their utterances.

        Streams that are still open after `grace_s` seconds (default: the setting `drain_s`) are ended.
        """
        grace_s = self._drain_s if grace_s is None else grace_s
        self._monitoring.health.leave()
        self._background_task.cancel()
        self._voices.drain()
        stopping = asyncio.ensure_future(self._server.stop(grace_s + CLOSE_S if grace_s else 0))
        await self._service.drain(grace_s)
        await stopping
        self._voices.close()
        await asyncio.wait({self._background_task})


@contextlib.asynccontextmanager
async def serving(
    config: Config, engines: dict[str, Callable[[], Engine]] | None = None, progress: Progress | None = None
) -> AsyncIterator[App]:
    """Run a server: its engines are loaded when the context is entered; it stops at the end.

    It listens while they load, refuses calls with UNAVAILABLE until then, and its health is NOT_SERVING.

    Args:
        config: settings.
        engines: loaders by name, in order of preference, in place of those that the settings ask for; each is called
            on a thread of this process.
        progress: called during loading with an engine's name and the fraction of it that is loaded, on any thread.

    Raises:
        ConfigError: a setting cannot be used.
        CheckpointError: a model folder cannot be used.
        EngineError: an engine's process ended while it loaded.
    """
    # Loading may take minutes, so everything that can fail at once comes first.
    chosen = loaders(config) if engines is None else {}
    credentials = server_credentials(config) if config.tls_certificate else None
    authentication, monitoring = Authentication(config), Monitoring()
    logger.info("authentication: %s", authentication.description)
    async with contextlib.AsyncExitStack() as stack:
        call_tracing = await stack.enter_async_context(tracing(config))
        observation = Observation(monitoring.metrics, config.write_timeout_s, call_tracing)
        server = _grpc_server(config, observation, authentication)
        port = _bind(server, config, credentials)
        stack.push_async_callback(server.stop, 0)
        store = open_store(config)
        _check_port_file(config.port_file)
        stack.push_async_callback(monitoring.close)
        await monitoring.start(config)
        services = LateServices()
        health_pb2_grpc.add_HealthServicer_to_server(monitoring.health, server)
        reflection.enable_server_reflection((*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
        server.add_generic_rpc_handlers((services,))
        await server.start()
        chosen, emotion_model = await fetch_models(config, chosen)
        read_cues("<b>")  # loads tables, which the first cue of a text would do on the event loop
        texts = await TextPool.launch(config.normalize_budget_ms / 1000, PROCESSES if config.processes else 0)
        stack.callback(texts.close)
        wait_ms = float(config.emotion_wait_ms)
        analyzers = load_emotion_analyzers(config.emotion_analyzer, texts.analyze, emotion_model, wait_ms)
        workers = await launch_workers(config, chosen, engines or {}, progress)
        for worker in workers.values():
            stack.callback(worker.close)
        add_own_voices(store, workers, config)
        await prepare_stored(store, workers, partial(_spoken, texts))
        pools = ThreadPools()
        stack.callback(pools.close)
        clips = EmotionClips(config.max_emotion_clip_bytes)
        context = _server_context(config, workers, store, texts, analyzers, clips)
        app = _start(server, services, port, config, context, store, clips, texts, monitoring, pools)
        stack.push_async_callback(app.stop, 0)
        yield app


def _grpc_server(config: Config, *first: grpc.aio.ServerInterceptor) -> Any:
    return grpc.aio.server(
        interceptors=[*first, CallLimits(config), Decoding()],
        options=channel_options(config),
        maximum_concurrent_rpcs=max_grpc_calls(config),
    )


def _start(
    server: Any,
    services: LateServices,
    port: int,
    config: Config,
    context: ServerContext,
    store: VoiceStore,
    clips: EmotionClips,
    texts: TextPool,
    monitoring: Monitoring,
    pools: ThreadPools,
) -> App:
    workers = context.workers
    service = SpeechService(config, context, monitoring.metrics)
    background_renderer = BackgroundRenderer(
        store,
        workers,
        context.plain_engine,
        context.forecast,
        pools,
        measure=config.match_loudness,
        render=config.fillers,
    )
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(service, services)
    voices = VoiceService(config, store, workers, clips, pools, background_renderer, partial(_spoken, texts))
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(voices, services)
    collectors = (
        StreamMetrics(context.audio_counts, lambda: service.queued),
        VoiceMetrics(store),
        TextMetrics(texts),
        ChildProcessMetrics(partial(_child_pids, workers, texts)),
    )
    monitoring.ready(workers, collectors)
    services.ready()
    return App(server, port, monitoring, service, voices, store, background_renderer, config.drain_s)


def _child_pids(workers: Mapping[str, Worker], texts: TextPool) -> dict[str, int]:
    """The processes that the server has started, by name."""
    engines = {f"engine {name}": worker.pid for name, worker in workers.items()}
    readers = {f"text {index}": pid for index, pid in enumerate(texts.pids, 1)}
    return {name: pid for name, pid in {**engines, **readers}.items() if pid is not None}


async def _spoken(texts: TextPool, transcript: str, language: str) -> str:
    """A transcript as it is spoken."""
    return (await texts.normalize(WrittenText(transcript, language))).text.spoken


def _log_failure(task: "asyncio.Task[None]") -> None:
    """Log the failure of the background renderer; the server goes on without it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the %s failed", task.get_name(), exc_info=error)


def _server_context(
    config: Config,
    workers: Mapping[str, Worker],
    store: VoiceStore,
    texts: TextPool,
    analyzers: EmotionAnalyzers,
    clips: EmotionClips,
) -> ServerContext:
    router = Router(config.default_engine, config.emotion_threshold, config.engines_by_emotion(), float(config.busy_ms))
    return ServerContext(
        workers=workers,
        router=router,
        plain_engine=router.plain_engine([worker.info for worker in workers.values()]),
        find_voice=lambda name: voice_access.find(store, name, principal(), "voice"),
        segmenter=lambda: Segmenter(
            first_unit_min_characters=config.first_unit_characters,
            unit_min_characters=min(20, config.max_unit_characters - 1),
            unit_max_characters=config.max_unit_characters,
        ),
        normalize=texts.normalize,
        draw_seed=lambda: secrets.randbits(53),
        clock=asyncio.get_running_loop().time,
        limits=StreamLimits(
            max_text_characters=config.max_text_characters,
            max_utterance_characters=config.max_utterance_characters,
            max_open_utterances=config.max_open_utterances,
            idle_timeout_ms=round(1000 * config.idle_timeout_s),
            text_timeout_ms=config.text_timeout_ms,
            max_clip_bytes=MAX_EMOTION_CLIP_BYTES,
            max_message_bytes=max_message_bytes(config),
            max_stream_characters=config.max_stream_characters,
            max_malformed_messages=config.max_malformed_messages,
            max_waiting_answers=config.max_waiting_answers,
        ),
        wait_ms=config.wait_ms,
        chunk_ms=config.chunk_ms,
        analyzers=analyzers,
        forecast=TTFAForecast(),
        filler=FillerSettings(threshold_ms=float(config.filler_threshold_ms)),
        has_fillers=config.fillers,
        find_clip=clips.get,
        parameter_limits={"steps": config.max_steps, "min_audio_ms": config.max_min_audio_ms},
        match_loudness=config.match_loudness,
        pause_scale=config.pause_scale,
        features=tuple(feature for feature in FEATURES if feature != "resume" or config.resume_s),
    )


def _bind(server: Any, config: Config, credentials: Any) -> int:
    address = f"[{config.host}]:{config.port}" if ":" in config.host else f"{config.host}:{config.port}"
    try:
        if credentials is not None:
            return int(server.add_secure_port(address, credentials))
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: is another server running? ({error})") from error


async def run(config: Config, progress: Progress | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once."""
    raise_file_limit(config.max_connections)
    with stop_signals() as signals, debug_switch():
        async with contextlib.AsyncExitStack() as stack:
            entering = asyncio.ensure_future(stack.enter_async_context(serving(config, progress=progress)))
            if not await until(entering, signals.stop):
                logger.info("stopped while loading")
                return
            app = entering.result()
            # What is loaded stays: collections of garbage, in which nobody is served, need not look at it.
            gc.collect()
            gc.freeze()
            if config.port_file:
                _write_port(Path(config.port_file).expanduser(), app.port)
            logger.info("serving on %s:%d", config.host, app.port)
            await signals.stop.wait()
            logger.info("stopping: waiting up to %g s for %d open streams", config.drain_s, app.service.open_streams)
            if not await until(asyncio.ensure_future(app.stop()), signals.stop_now):
                logger.warning("stopping at once")
    logger.info("stopped")


def _write_port(path: Path, port: int) -> None:
    """Write the port atomically: a process that waits for the file must not read half a number."""
    with _port_file_errors(path):
        atomic_write.write_bytes(path, f"{port}\n".encode(), fsync=False, mode=0o666)


def _check_port_file(name: str) -> None:
    if not name:
        return
    path = Path(name).expanduser()
    with _port_file_errors(path), tempfile.TemporaryFile(dir=path.parent):
        pass


@contextlib.contextmanager
def _port_file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"port_file: cannot write {path}: {error.strerror}") from error
