"""The standard health service, `grpc.health.v1`: of the server, of each service, and of each engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from intone.server.logs import fields
from intone.server.runtime.worker import Worker

logger = logging.getLogger(__name__)

CHECK_S = 0.25
"""Time between two looks at the engines, for those who watch."""

ENGINE = "intone.engine."
"""Before the name of an engine in the name of its health."""

SPEECH, VOICES = "intone.v1.SpeechService", "intone.v1.VoiceService"


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """What can serve now.

    An engine is SERVING unless it is failing: see `Worker.fault`. SpeechService, and with it the server as a whole
    (the empty name), is SERVING while any engine is: each can speak plain text. All are NOT_SERVING before `ready` and
    after `leave`. Watches end then, since open calls would delay the drain.
    """

    def __init__(self) -> None:
        self._workers: Mapping[str, Worker] = {}
        self._states: dict[str, bool] = {}
        self._left = False
        self._changed = asyncio.Event()  # replaced at each change

    def ready(self, workers: Mapping[str, Worker]) -> None:
        """The engines are loaded."""
        self._workers = workers
        self._states = self._present()
        self._notify()

    def leave(self) -> None:
        """Report NOT_SERVING from now on."""
        self._left = True
        self._notify()

    async def run(self) -> None:
        """Tell watches and the log what changes; until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            present = self._present()
            if present == self._states:
                continue
            for name, serving in present.items():
                if serving != self._states.get(name):
                    fault = self._fault(name)
                    level = logging.INFO if serving else logging.WARNING
                    message = "serving again" if serving else "not serving"
                    logger.log(level, message, extra=fields(service=name or "the server", why=fault or None))
            self._states = present
            self._notify()

    def is_serving(self, service: str) -> bool | None:
        """Whether a service can serve; the empty name is the whole server. None if there is no such service."""
        return self._present().get(service)

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        """The state of a service, or of the whole server if the request names none."""
        serving = self.is_serving(request.service)
        if serving is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r}")
        return _response(serving)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The present state, then each other one when it changes."""
        last: object = "none"
        while True:
            changed = self._changed
            serving = self.is_serving(request.service)
            if serving != last:
                yield _response(serving)
                last = serving
            if self._left:
                return
            await changed.wait()

    def _present(self) -> dict[str, bool]:
        engines = {ENGINE + name: not (self._left or worker.failing) for name, worker in self._workers.items()}
        speaks = any(engines.values())
        return {"": speaks, SPEECH: speaks, VOICES: bool(self._workers) and not self._left, **engines}

    def _fault(self, service: str) -> str:
        worker = self._workers.get(service.removeprefix(ENGINE)) if service.startswith(ENGINE) else None
        return "" if worker is None else worker.fault

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _response(serving: bool | None) -> health_pb2.HealthCheckResponse:
    state = "SERVICE_UNKNOWN" if serving is None else "SERVING" if serving else "NOT_SERVING"
    return health_pb2.HealthCheckResponse(status=state)
