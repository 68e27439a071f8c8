"""Uploads of recordings over the loopback: limits of number and time, and speech that goes on beside them."""

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import voice_pb2
from intone.server.domain import Recording
from intone.server.engines.pieces import VoicePieces
from intone.server.rpc import uploads
from intone.server.storage import atomic_write
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import Live, live, soon
from tests.support.rpc_status import code_of, error_of, failed, reason_of, status_of, values_of
from tests.support.voice_server import recording, upload, voice_server

CONFIG = voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="the words of it"))


async def begun(server: Any, *messages: voice_pb2.CreateVoiceRequest) -> Any:
    """An upload that has sent these messages, and sends no more."""
    call = server.voices.CreateVoice()
    for message in (CONFIG, *messages):
        await call.write(message)
    return call


@dataclass
class Gate:
    """Holds up what passes it on other threads: `hold` says that somebody waits, `open` lets all pass."""

    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opened: threading.Event = field(default_factory=threading.Event)
    passed: int = 0

    def hold(self) -> None:
        self.passed += 1
        self.waiting.release()
        assert self.opened.wait(20.0)

    async def reached(self) -> None:
        """Wait until somebody waits at the gate."""
        assert await asyncio.to_thread(self.waiting.acquire, timeout=20.0)


@contextlib.contextmanager
def gate() -> Iterator[Gate]:
    """A gate that is open at the end, so that no thread is left behind."""
    made = Gate()
    try:
        yield made
    finally:
        made.opened.set()


async def first_sound_s(server: Live) -> float:
    """Time from a text to its first audio, on a stream of its own."""
    talk = await server.talk()
    began_s = time.monotonic()
    await talk.say("u", "Hello there.")
    await talk.until("audio")
    took_s = time.monotonic() - began_s
    talk.call.cancel()
    return took_s


# ---- time and number -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"upload_pause_s": 0.1}, "audio: paused for more than 0.1 s"),
        ({"upload_timeout_s": 0.1}, "audio: did not end within 0.1 s, the maximum of this server"),
    ],
)
@pytest.mark.parametrize("messages", [(), (voice_pb2.CreateVoiceRequest(audio=b"RIFF"),)])
def test_an_upload_that_sends_nothing_more(run, limits, words, messages):
    async def main():
        async with voice_server(**limits) as server:
            error = await asyncio.wait_for(failed(await begun(server, *messages)), 10)
            status = status_of(error)
            assert (code_of(status), reason_of(status)) == (StatusCode.DEADLINE_EXCEEDED, "UPLOAD_TIMEOUT")
            assert error.details() == words

    run(main())


def test_an_upload_that_goes_on_slowly_ends_at_the_time_limit(run):
    async def main():
        async with voice_server(upload_pause_s=0.15, upload_timeout_s=0.3) as server:
            call = await begun(server)

            async def go_on() -> None:
                with contextlib.suppress(asyncio.InvalidStateError):
                    while True:
                        await call.write(voice_pb2.CreateVoiceRequest(audio=b"\0"))
                        await asyncio.sleep(0.02)

            writing = asyncio.create_task(go_on())
            error = await asyncio.wait_for(failed(call), 10)
            writing.cancel()
            assert "did not end within 0.3 s" in (error.details() or "")

    run(main())


@pytest.mark.parametrize("limits", [{"max_uploads": 2}, {"max_uploads": 9, "max_uploads_per_caller": 2}], ids=str)
def test_one_upload_too_many(run, limits):
    """Its place is free again after whatever end of another."""

    async def main():
        async with voice_server(**limits) as server:
            first, second = [await begun(server) for _ in range(2)]

            async def refused() -> bool:
                error = await error_of(server.voices.CreateVoice(upload(recording())))
                if error is None:
                    return False
                status = status_of(error)
                assert (code_of(status), reason_of(status)) == (StatusCode.RESOURCE_EXHAUSTED, "UPLOADS_EXHAUSTED")
                assert values_of(status) == {"limit": "2"}
                return True

            await until(refused)
            await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="default"))  # other methods are not counted
            first.cancel()
            await until(refused, False)
            await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name="anna"))
            first = await begun(server)
            await until(refused)
            await second.write(CONFIG)
            assert reason_of(status_of(await failed(second))) == "CONFIG_REPEATED"
            await until(refused, False)
            first.cancel()

    run(main())


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], wanted: bool = True) -> None:
    """Wait until a condition, or its opposite, holds; the limit of the whole test ends a wait in vain."""
    while await condition() != wanted:  # noqa: ASYNC110 - asks a server
        await asyncio.sleep(0.005)


def test_uploads_are_cut_when_the_server_stops(run):
    """A stop does not wait for a client that sends nothing more."""

    async def main():
        async with live() as server:
            call = await begun(server)
            await soon(lambda: server.app._voices._uploads.count == 1, "the upload is open")
            began_s = time.monotonic()
            stopping = asyncio.create_task(server.app.stop(20.0))
            status = status_of(await failed(call))
            await stopping
            assert time.monotonic() - began_s < 5.0
            assert (code_of(status), reason_of(status)) == (StatusCode.UNAVAILABLE, "GOING_AWAY")

    run(main())


def test_long_recordings_are_kept_in_a_file_until_they_are_read(run, monkeypatch):
    rolled = []
    monkeypatch.setattr(uploads, "MAX_BYTES_IN_MEMORY", 1000)
    rollover = tempfile.SpooledTemporaryFile.rollover
    monkeypatch.setattr(
        tempfile.SpooledTemporaryFile, "rollover", lambda self: rolled.append(self.tell()) or rollover(self)
    )

    async def main():
        async with voice_server() as server:
            made = (await server.voices.CreateVoice(upload(recording(2000), piece=900))).voice
            assert made.recording_ms == 2000 and rolled == [1800]

    run(main())


def test_a_full_disk_for_temporary_files(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)

    async def main():
        async with voice_server() as server:
            status = status_of(await failed(server.voices.CreateVoice(upload(recording()))))
            assert (code_of(status), reason_of(status)) == (StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")

    run(main())


# ---- beside speech ---------------------------------------------------------------------------------------------------


def test_a_slow_disk_does_not_delay_speech(run, monkeypatch, tmp_path):
    """Eight changes wait for a file that is being flushed; speech, reading and decoding do not."""

    async def main():
        async with live(voices=str(tmp_path)) as server:
            await server.voices.CreateVoice(upload(recording()))
            with gate() as disk:
                monkeypatch.setattr(atomic_write, "_flush", lambda path: disk.hold())
                calls = [
                    asyncio.ensure_future(server.voices.CreateVoice(upload(recording(), name="bob"))),
                    *(
                        asyncio.ensure_future(
                            server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=f"nobody{number}"))
                        )
                        for number in range(8)
                    ),
                ]
                await disk.reached()
                assert await first_sound_s(server) < 2.0  # all else waits until the gate opens
                assert (await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="anna"))).voice.name == "anna"
                assert not calls[0].done()
            made, *missing = await asyncio.gather(*calls, return_exceptions=True)
            assert made.voice.name == "bob"
            assert {reason_of(status_of(error)) for error in missing} == {"VOICE_NOT_FOUND"}

    run(main())


class PreparesInPieces(ScriptedEngine):
    """A voice takes a second to prepare, in pieces as long as a step."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        for _ in range(50):
            time.sleep(0.02)
            yield
        return (yield from super().prepare_voice(recording))


def test_uploads_do_not_stop_the_speech_of_the_engine_that_prepares_them(run):
    async def main():
        async with live(PreparesInPieces(script=Script(step_s=0.02)), max_uploads_per_caller=4) as server:
            calls = [
                asyncio.ensure_future(server.voices.CreateVoice(upload(recording(), name=f"v{n}"))) for n in range(4)
            ]
            await soon(lambda: server.app._voices._uploads.count == 4, "all are received")
            first_s = [await first_sound_s(server) for _ in range(3)]
            assert not all(call.done() for call in calls)
            assert min(first_s) < 0.3  # of four seconds of preparation
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    run(main())


@dataclass
class GatedPreparation(ScriptedEngine):
    """Preparing a voice waits at a gate, in its second piece."""

    gate: Gate = field(default_factory=Gate)

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        yield
        self.gate.hold()
        yield
        return (yield from super().prepare_voice(recording))


def test_uploads_that_are_cancelled_are_not_prepared(run):
    async def main():
        engine = GatedPreparation()
        async with live(engine, max_uploads_per_caller=4) as server:
            try:
                calls = [server.voices.CreateVoice(upload(recording(), name=f"v{n}")) for n in range(4)]
                await engine.gate.reached()
                await soon(lambda: server.app._voices._uploads.count == 4, "all are received")
                for call in calls:
                    call.cancel()
                await soon(lambda: server.app._voices._uploads.count == 0, "all are given up")
            finally:
                engine.gate.opened.set()
            assert await first_sound_s(server) < 5.0
            assert engine.gate.passed == 1
            assert [voice.name for voice in server.app.store.list()] == ["default"]

    run(main())


def test_a_voice_that_is_being_written_is_there_although_its_caller_left(run, monkeypatch, tmp_path):
    """And the renderer is told of it."""

    async def main():
        async with live(voices=str(tmp_path)) as server:
            told = []
            monkeypatch.setattr(server.app.background_renderer, "voice_added", told.append)
            with gate() as disk:
                monkeypatch.setattr(atomic_write, "_flush", lambda path: disk.hold())
                call = server.voices.CreateVoice(upload(recording()))
                await disk.reached()
                call.cancel()
                await soon(lambda: server.app._voices._uploads.count == 0, "the call has ended")
                assert [voice.name for voice in server.app.store.list()] == ["default"] and not told
            await soon(lambda: bool(told), "the voice is there")
            assert [voice.name for voice in server.app.store.list()] == ["default", "anna"] and told == ["anna"]

    run(main())
