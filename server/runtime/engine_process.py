"""An engine in a process of its own: what runs there. The server's side is `process_worker.py`."""

import logging
import os
import threading
import time
from typing import Any

from intone.server.domain import PreparedVoice
from intone.server.errors import EngineError, IntoneError
from intone.server.runtime.channel import Channel
from intone.server.runtime.engine_loop import EngineLoop, Parking, VoiceCall, batch_of
from intone.server.runtime.shared_values import KeptValues
from intone.server.runtime.worker import Load

logger = logging.getLogger(__name__)

BEAT_S = 0.5
"""Time between two heartbeats."""


def run(channel: Channel, name: str, load: Load, max_batch: int, parking: Parking) -> None:
    """Load the engine and speak until the server is gone. The engine owns the main thread.

    Sends ("progress", fraction), then ("ready", info, fingerprint, max_batch) or ("failed", error); then ("results",
    results), ("voice", call, prepared, error), and all the time ("beat", activity, seconds).
    """
    loop = EngineLoop(name, lambda results: channel.send(("results", results)), time.process_time)
    threading.Thread(target=_beat, args=(channel, loop), name="heartbeat", daemon=True).start()
    try:
        engine = load(lambda fraction: channel.send(("progress", fraction)))
    except Exception as error:  # it is raised again where the worker is launched
        if not isinstance(error, IntoneError):
            logger.exception("engine %s cannot be loaded", name)
            error = EngineError(name, f"{type(error).__name__} while it was loaded: {error}")
        channel.send(("failed", error))
        return
    threading.Thread(target=_receive, args=(channel, loop), name="receiver", daemon=True).start()
    channel.send(("ready", engine.info, engine.fingerprint, batch_of(engine, max_batch)))
    loop.run(engine, max_batch, parking)


def _beat(channel: Channel, loop: EngineLoop) -> None:
    try:
        while True:
            activity = loop.activity
            channel.send(("beat", activity.kind, time.monotonic() - activity.since_s))
            time.sleep(BEAT_S)
    except ConnectionError:  # the server is gone
        os._exit(0)


def _receive(channel: Channel, loop: EngineLoop) -> None:
    """Pass the server's messages to the loop; end the process with the connection."""
    receiver = _Receiver(channel, loop)
    try:
        while True:
            receiver.handle(*channel.receive())
    except (EOFError, ConnectionError):
        os._exit(0)
    except BaseException:
        logger.exception("a message of the server cannot be handled")
        os._exit(1)


class _Receiver:
    def __init__(self, channel: Channel, loop: EngineLoop) -> None:
        self._channel, self._loop = channel, loop
        self._kept = KeptValues()
        self._calls: dict[int, VoiceCall] = {}

    def handle(self, kind: str, number: int, *rest: Any) -> None:
        match kind:
            case "submit":
                request, voice, clip, slack_s = rest
                self._loop.submit(number, self._kept.restored(request, voice, clip), slack_s)
            case "drop":
                self._loop.drop(number)
            case "taken":
                self._loop.taken(number)
            case "keep":
                self._kept.keep(number, *rest)
            case "forget":
                self._kept.forget(number)
            case "prepare":
                self._prepare(number, *rest)
            case "cancel":
                if (call := self._calls.pop(number, None)) is not None:
                    call.cancelled = True
            case _:
                raise ValueError(f"there is no message {kind!r}")

    def _prepare(self, number: int, recording: Any) -> None:
        def settle(prepared: PreparedVoice | None, error: IntoneError | None) -> None:
            if self._calls.pop(number, None) is None:
                return  # cancelled while it was prepared
            if prepared is not None:
                self._kept.keep(number, prepared)  # the engine may have cached what belongs to this very object
            self._channel.send(("voice", number, prepared, error))

        self._calls[number] = VoiceCall(recording, settle)
        self._loop.call(self._calls[number])
