"""Metrics that are read from other parts of the server when Prometheus asks: streams, voices, texts, processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from intone.server.conversation.audio_counts import AudioCounts
from intone.server.runtime.text_pool import TextPool
from intone.server.voices.store import VoiceStore
from intone.server.voices.voice_file import memory_bytes

PROC = Path("/proc")


class StreamMetrics(Collector):
    """Of all streams.

    Args:
        counts: underruns and wasted audio.
        queued: utterances that have not ended, events that wait to be sent, and milliseconds of audio among them.
    """

    def __init__(self, counts: AudioCounts, queued: Callable[[], tuple[int, int, float]]) -> None:
        self._counts, self._queued = counts, queued

    def collect(self) -> Iterator[Metric]:
        """Queues now; underruns and wasted audio since the start."""
        utterances, events, audio_ms = self._queued()
        yield GaugeMetricFamily("tts_utterances_open", "Utterances that have not ended.", utterances)
        yield GaugeMetricFamily("tts_outbox_events", "Events that wait to be sent to clients.", events)
        yield GaugeMetricFamily("tts_outbox_audio_seconds", "Audio that waits to be sent.", audio_ms / 1000)
        counts = self._counts
        yield CounterMetricFamily(
            "tts_listener_underruns", "Holes inside of utterances: text or audio came late.", counts.underruns
        )
        yield CounterMetricFamily("tts_listener_underrun_seconds", "Duration of these holes.", counts.underrun_s)
        wasted = CounterMetricFamily(
            "tts_audio_wasted_seconds",
            "Audio that nobody heard: made and not sent, or sent and discarded by the client after an interrupt.",
            labels=["stage"],
        )
        wasted.add_metric(["unsent"], counts.unsent_s)
        wasted.add_metric(["unheard"], counts.unheard_s)
        yield wasted


class VoiceMetrics(Collector):
    """Of the voices in a store."""

    def __init__(self, store: VoiceStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """How many there are, and how large."""
        voices = self._store.list()
        yield GaugeMetricFamily("tts_voices", "Voices, the built-in one among them.", len(voices))
        yield GaugeMetricFamily(
            "tts_voice_bytes", "Memory of all voices.", sum(memory_bytes(voice) for voice in voices)
        )


class TextMetrics(Collector):
    """Of the pool that normalizes texts."""

    def __init__(self, texts: TextPool) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        """Texts that wait now; how long all took; how many could not be read."""
        texts = self._texts
        yield GaugeMetricFamily("tts_texts_waiting", "Texts that are normalized or analyzed, or wait.", texts.waiting)
        seconds = HistogramMetricFamily("tts_text_seconds", "Normalization of a text, with the wait for a process.")
        seconds.add_metric([], texts.seconds.buckets(), texts.seconds.sum)
        yield seconds
        yield CounterMetricFamily("tts_texts_unread", "Texts that were spoken as they are written.", texts.unread)


class ChildProcessMetrics(Collector):
    """Of the processes that the server has started. `pids`: by name."""

    def __init__(self, pids: Callable[[], dict[str, int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """Memory and processor time of each; nothing where there is no `/proc`."""
        memory = GaugeMetricFamily("tts_child_resident_memory_bytes", "Resident memory.", labels=["process"])
        cpu = CounterMetricFamily("tts_child_cpu_seconds", "Processor time.", labels=["process"])
        for name, pid in self._pids().items():
            try:
                pages = int((PROC / str(pid) / "statm").read_text().split()[1])
                times = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
            except (OSError, IndexError, ValueError):  # it has ended meanwhile
                continue
            memory.add_metric([name], pages * os.sysconf("SC_PAGE_SIZE"))
            cpu.add_metric([name], sum(map(int, times)) / os.sysconf("SC_CLK_TCK"))
        yield memory
        yield cpu
