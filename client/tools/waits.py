"""The wait for the first speech of an utterance, by what it was spent on."""

from dataclasses import dataclass

from intone.client.speech import Speech


@dataclass(frozen=True, slots=True)
class Wait:
    """Times in milliseconds; None means not applicable.

    Attributes:
        text_ms: until the server had the text of the first sentence: it was being written, or on its way.
        server_ms: the server's first sound: from then to the first audible speech (`LatencyReport.ttfa_ms`).
        speech_ms: the sum: from the first text sent to the first audible speech received (`Latency.ttfa_ms`).
        filler_ms: from the first text sent to the first audible filler received.
    """

    text_ms: float | None
    server_ms: float | None
    speech_ms: float | None
    filler_ms: float | None


def wait_of(speech: Speech) -> Wait:
    """The wait of an utterance."""
    speech_ms, server_ms = speech.latency.ttfa_ms, speech.report.ttfa_ms if speech.report else None
    text_ms = None if speech_ms is None or server_ms is None else max(0.0, speech_ms - server_ms)
    return Wait(text_ms, server_ms, speech_ms, speech.latency.filler_ttfa_ms)
