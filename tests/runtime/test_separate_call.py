"""Calls in processes of their own: results, errors, limits of time and memory, and their end with the server."""

import os
import resource
import signal
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest

from intone.server.audio.recordings import SoundData
from intone.server.config import Config
from intone.server.errors import CallerError, Reason
from intone.server.runtime import recording_reader
from intone.server.runtime.recording_reader import RecordingReader
from intone.server.runtime.separate_call import NICENESS, SeparateCallError, SeparateCalls
from tests.support.sound_files import encoded

MIB = 1 << 20


def calls(max_s: float = 20.0, max_bytes: int = 256 * MIB) -> SeparateCalls:
    return SeparateCalls(max_s, max_bytes)


def sums(values):
    return float(np.sum(values)), os.getpid()


def test_a_call_returns_its_result_from_another_process():
    total, pid = calls()(partial(sums, np.ones(1_000_000)))
    assert total == 1_000_000 and pid != os.getpid()


def refuses():
    raise CallerError("audio", "is refused", Reason.RECORDING_INVALID, limit=3)


def test_an_error_of_the_caller_is_raised_as_it_is():
    with pytest.raises(CallerError) as caught:
        calls()(refuses)
    assert (caught.value.field, caught.value.reason, caught.value.values) == (
        "audio",
        Reason.RECORDING_INVALID,
        {"limit": "3"},
    )


def fails():
    raise ValueError("of what the caller has sent")


def crashes():
    os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory():
    return len(bytearray(1 << 30))


@pytest.mark.parametrize(
    ("work", "words"),
    [(fails, "it failed with ValueError"), (crashes, "it was ended by SIGSEGV"), (takes_memory, "MemoryError")],
)
def test_a_call_that_fails(capfd, work, words):
    with pytest.raises(SeparateCallError, match=words) as caught:
        calls()(work)
    assert "caller has sent" not in str(caught.value) and capfd.readouterr().err == ""


def test_a_call_that_takes_too_long():
    began_s = time.monotonic()
    with pytest.raises(SeparateCallError, match="it took more than 0.2 s"):
        calls(max_s=0.2)(partial(time.sleep, 60))
    assert time.monotonic() - began_s < 10


def limits():
    return os.getpriority(os.PRIO_PROCESS, 0), [
        resource.getrlimit(which)[0] for which in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other systems are not known")
def test_a_call_writes_no_file_and_gives_way_to_speech():
    assert calls()(limits) == (min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS), [0, 0])


def test_closing_ends_the_calls_that_are_under_way():
    separate, failures = calls(), []

    def wait():
        try:
            separate(partial(time.sleep, 60))
        except SeparateCallError as error:
            failures.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not separate._running:
        time.sleep(0.005)
    separate.close()
    thread.join(10)
    assert failures == ["it was ended by SIGKILL, perhaps because memory ran out"]
    with pytest.raises(SeparateCallError, match="shutting down"):
        separate(fails)


# ---- recordings


def sound(rate_hz: int = 16_000, **how) -> bytes:
    time_s = np.arange(rate_hz) / rate_hz
    return encoded((0.3 * np.sin(2000 * time_s) * np.sin(np.pi * time_s)).astype(np.float32), rate_hz, **how)


def reader(pools, **settings) -> RecordingReader:
    return RecordingReader(Config(port=0, **settings), pools.decoding)


def test_recordings_are_the_same_from_another_process(run, thread_pools, capfd):
    files = [SoundData(sound(), "a", "words"), SoundData(sound(form="MP3", subtype=None), "b")]
    damaged = bytearray(files[1].data)
    damaged[776:796] = bytes(byte ^ 0x5A for byte in damaged[776:796])
    given = [*files, SoundData(bytes(damaged), "c")]

    async def main():
        both = [await reader(thread_pools, processes=yes).read(given, min_ms=100, max_ms=5000) for yes in (True, False)]
        for one, other in zip(*both, strict=True):
            assert (one.transcript, one.notices) == (other.transcript, other.notices)
            assert np.array_equal(one.samples, other.samples)
        with pytest.raises(CallerError) as caught:
            await reader(thread_pools).read([files[0], SoundData(b"x", "d")], min_ms=100, max_ms=5000)
        assert caught.value.field == "d"
        for processes, remarks in ((False, "Illegal Audio-MPEG-Header"), (True, "")):  # of libmpg123
            capfd.readouterr()
            await reader(thread_pools, processes=processes).read(given[2:], min_ms=100, max_ms=5000)
            assert remarks in (found := capfd.readouterr().err) and bool(found) == bool(remarks)

    run(main())


def test_a_recording_that_takes_too_much_to_decode(run, thread_pools, monkeypatch):
    async def main():
        with pytest.raises(CallerError, match="^audio: cannot be decoded: it took more than 0.1 s"):
            await reader(thread_pools, decoding_timeout_s=0.1).read([SoundData(sound())], min_ms=100, max_ms=5000)
        monkeypatch.setattr(recording_reader, "COPIES", 0)
        monkeypatch.setattr(recording_reader, "FILE_COPIES", 0)
        monkeypatch.setattr(recording_reader, "SPARE_BYTES", 8 * MIB)
        long = encoded(np.tile(np.sin(np.arange(48_000) / 9).astype(np.float32), 60), 48_000)
        with pytest.raises(CallerError, match="^audio: cannot be decoded: ") as caught:
            await reader(thread_pools).read([SoundData(long)], min_ms=100, max_ms=90_000)
        assert caught.value.reason is Reason.RECORDING_INVALID

    run(main())
