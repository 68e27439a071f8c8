"""Metrics of the engines, read from their workers when Prometheus asks."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from intone.server.runtime.worker import Worker


class EngineMetrics(Collector):
    """`workers`: by engine name; on their event loop only."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """One sample of each metric for each engine."""
        load = GaugeMetricFamily("tts_engine_load", "Units that are spoken or queued.", labels=["engine"])
        queued = GaugeMetricFamily("tts_engine_queued", "Units that wait for their first step.", labels=["engine"])
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
        step_s = HistogramMetricFamily("tts_engine_step_seconds", "Duration of steps.", labels=["engine"])
        batch = HistogramMetricFamily("tts_engine_batch", "Units that a step advances.", labels=["engine"])
        queue_s = HistogramMetricFamily(
            "tts_engine_queue_seconds", "Wait of each unit for its first step.", labels=["engine"]
        )
        capacity = GaugeMetricFamily(
            "tts_engine_capacity_streams",
            "Streams that the engine can speak as fast as they are heard, from its last steps.",
            labels=["engine"],
        )
        for name, worker in self._workers.items():
            activity, seconds = worker.activity
            counts = worker.counts
            load.add_metric([name], worker.load)
            queued.add_metric([name], worker.queued)
            if (streams := worker.capacity) is not None:
                capacity.add_metric([name], streams)
            failing.add_metric([name], worker.failing)
            step.add_metric([name], seconds if activity == "step" else 0.0)
            failures.add_metric([name], counts.failed_units)
            not_finite.add_metric([name], counts.not_finite_units)
            restarts.add_metric([name], counts.restarts)
            hangs.add_metric([name], counts.hangs)
            step_s.add_metric([name], counts.step_s.buckets(), counts.step_s.sum)
            batch.add_metric([name], counts.batch.buckets(), counts.batch.sum)
            queue_s.add_metric([name], counts.queue_s.buckets(), counts.queue_s.sum)
        yield from (
            load,
            queued,
            capacity,
            failing,
            step,
            failures,
            not_finite,
            restarts,
            hangs,
            step_s,
            batch,
            queue_s,
        )
