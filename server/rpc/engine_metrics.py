"""Metrics of the engines, read from their workers when Prometheus asks."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from intone.server.runtime.worker import Worker


class EngineMetrics(Collector):
    """`workers`: by engine name; on their event loop only."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """One sample of each metric for each engine."""
        load = GaugeMetricFamily("tts_engine_load", "Units that are spoken or queued.", labels=["engine"])
        failing = GaugeMetricFamily("tts_engine_failing", "1 while other engines speak instead.", labels=["engine"])
        step = GaugeMetricFamily(
            "tts_engine_running_step_seconds", "Age of the running step; 0 between steps.", labels=["engine"]
        )
        failures = CounterMetricFamily("tts_engine_failures", "Units that the engine has failed.", labels=["engine"])
        not_finite = CounterMetricFamily(
            "tts_engine_not_finite_units", "Units whose audio had a NaN or an infinity.", labels=["engine"]
        )
        restarts = CounterMetricFamily("tts_engine_restarts", "Ends of the engine's process.", labels=["engine"])
        hangs = CounterMetricFamily("tts_engine_hangs", "Ends of the process because it hung.", labels=["engine"])
        for name, worker in self._workers.items():
            activity, seconds = worker.activity
            load.add_metric([name], worker.load)
            failing.add_metric([name], worker.failing)
            step.add_metric([name], seconds if activity == "step" else 0.0)
            failures.add_metric([name], worker.counts.failed_units)
            not_finite.add_metric([name], worker.counts.not_finite_units)
            restarts.add_metric([name], worker.counts.restarts)
            hangs.add_metric([name], worker.counts.hangs)
        yield from (load, failing, step, failures, not_finite, restarts, hangs)
