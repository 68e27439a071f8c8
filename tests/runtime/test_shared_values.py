"""Voices and emotion clips on their way to an engine's process: sent once, the same object for all units."""

import asyncio
import dataclasses
import os
import signal

import numpy as np

from intone.server.domain import (
    Emotion,
    PreparedVoice,
    Recording,
    SpeakRequest,
    Step,
    VoiceNotice,
    VoiceNoticeCode,
)
from intone.server.engines.pieces import VoicePieces
from intone.server.runtime import shared_values
from intone.server.runtime.process_worker import ProcessWorker
from intone.server.runtime.shared_values import KeptValues, SharedValues
from intone.server.runtime.worker import Progress
from tests.support.fakes import ScriptedEngine
from tests.support.process_workers import eventually, recording, request, with_worker

NOISY = VoiceNotice(VoiceNoticeCode.RECORDING_CUT, "of 16500 ms the first 15 s are used", "starter")


@dataclasses.dataclass
class Remembering(ScriptedEngine):
    """Says of each unit whether its voice and its clip are the objects that it knows, as an engine's cache would."""

    voices: dict[int, PreparedVoice] = dataclasses.field(default_factory=dict)

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        yield
        voice = PreparedVoice(self.fingerprint, {"samples": recording.samples}, recording.transcript, (NOISY,))
        self.voices[id(voice)] = voice
        return voice

    def step(self, states):
        return [self._told(state.request) for state in states]

    def _told(self, request: SpeakRequest) -> Step:
        voice, clip = request.voice, request.emotion.clip
        known = voice is not None and id(voice) in self.voices
        total = 0.0 if voice is None else float(voice.arrays["samples"].sum())
        if voice is not None:
            self.voices[id(voice)] = voice
        return Step(np.array([known, total, len(clip), request.emotion.intensity], np.float32), done=True)


def remembering(progress: Progress | None = None) -> Remembering:
    return Remembering()


async def told(worker: ProcessWorker, voice: PreparedVoice | None, clip: bytes = b"") -> list[float]:
    job = worker.submit(request("who", voice=voice, emotion=Emotion(intensity=0.5, clip=clip)))
    (step,) = [step async for step in job]
    return step.pcm.tolist()


def test_voices_and_clips_pass_the_boundary_once(run, monkeypatch):
    sent = []

    async def body(worker):
        voice = await worker.prepare_voice(recording())
        assert voice.text == "the words" and voice.notices == (NOISY,)
        assert voice.arrays["samples"].tolist() == recording().samples.tolist()
        worker._child.send = lambda message, send=worker._child.send: (sent.append(message[0]), send(message))
        worker._shared._send = worker._child.send
        total = float(recording().samples.sum())
        assert await told(worker, voice) == [1.0, total, 0.0, 0.5]
        stored = dataclasses.replace(voice, arrays={"samples": np.ones(3, np.float32)})  # as read from a voice file
        assert await told(worker, stored) == [0.0, 3.0, 0.0, 0.5]
        assert await told(worker, stored, b"a clip") == [1.0, 3.0, 6.0, 0.5]
        assert await told(worker, stored, b"a" + b" clip") == [1.0, 3.0, 6.0, 0.5]
        assert await told(worker, None) == [0.0, 0.0, 0.0, 0.5]
        assert sent.count("keep") == 2 and sent.count("submit") == 5

    with_worker(run, body, remembering)


def test_a_voice_is_prepared_and_spoken_again_after_a_restart(run):
    async def body(worker):
        voice = await worker.prepare_voice(recording())
        waiting = asyncio.create_task(worker.prepare_voice(recording()))
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.wait({waiting})
        assert waiting.exception() is None or "SIGKILL" in str(waiting.exception())
        await eventually(lambda: worker.failing or worker.counts.restarts == 1)
        assert (await worker.prepare_voice(recording())).text == "the words"
        assert (await told(worker, voice))[:2] == [0.0, float(recording().samples.sum())]

    with_worker(run, body, remembering)


def test_the_process_forgets_the_voices_that_were_not_used_lately(monkeypatch):
    monkeypatch.setattr(shared_values, "MAX_BYTES", 100)
    kept = KeptValues()

    def send(message):
        getattr(kept, message[0])(*message[1:])

    shared = SharedValues(send)
    voices = [PreparedVoice("f", {"a": np.full(10, n, np.float32)}) for n in range(5)]
    for n in (0, 1, 0, 2, 0, 3, 4, 1):
        small, voice, clip = shared.reduced(request("x", voice=voices[n]))
        assert small.voice is None and clip == 0
        assert kept.restored(small, voice, clip).voice is voices[n]
        assert len(kept._values) <= 2
    _, voice, _ = shared.reduced(request("x", voice=PreparedVoice("f", {"a": np.zeros(1000)})))
    assert list(kept._values) == [voice]  # larger than the limit, and alone
