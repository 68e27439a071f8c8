"""Everything that watches the server: metrics, health, the HTTP port for both, and the lag of the event loop."""

import asyncio
from collections.abc import Iterable, Mapping

from prometheus_client.registry import Collector

from intone.server.config import Config
from intone.server.errors import ConfigError
from intone.server.rpc.engine_metrics import EngineMetrics
from intone.server.rpc.health import Health
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.monitoring_http import MonitoringServer
from intone.server.runtime.worker import Worker

LAG_PERIOD_S = 0.1
"""Time between two measurements of the event loop's lag."""


class Monitoring:
    """Begins with `start`, knows the engines from `ready` on, and ends with `close`."""

    def __init__(self) -> None:
        self.metrics, self.health = Metrics(), Health()
        self._http = MonitoringServer(self.metrics.registry, self.health.is_serving)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, config: Config) -> None:
        """Serve over HTTP, if the settings ask for it, and measure.

        Raises:
            ConfigError: the port cannot be bound.
        """
        self._tasks.append(asyncio.create_task(self._measure_lag(), name="loop lag"))
        if not config.metrics_port:
            return
        try:
            await self._http.start(config.metrics_host, config.metrics_port)
        except OSError as error:
            address = f"{config.metrics_host}:{config.metrics_port}"
            raise ConfigError(f"metrics_port: cannot listen on {address}: {error.strerror}") from error

    def ready(self, workers: Mapping[str, Worker], collectors: Iterable[Collector] = ()) -> None:
        """The engines are loaded. `collectors`: of further metrics."""
        self.health.ready(workers)
        for collector in (EngineMetrics(workers), *collectors):
            self.metrics.registry.register(collector)
        self._tasks.append(asyncio.create_task(self.health.run(), name="health"))

    async def close(self) -> None:
        """End everything; may be called more than once."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._http.close()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self.metrics.loop_lag(max(0.0, loop.time() - due_s))
