"""Pages of voices over real gRPC: sizes, tokens, voices that go and come between two pages."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import voice_pb2
from intone.server.domain import Filler, Recording
from intone.server.rpc import voice_service
from intone.server.rpc.voice_requests import page_token
from intone.server.voices.store import build_voice
from tests.support.rpc_status import code_and_field, failed, reason_of, refusal, status_of, values_of
from tests.support.voice_server import recording, upload, voice_server

INVALID = StatusCode.INVALID_ARGUMENT


async def listed(server: Any, **request: Any) -> tuple[list[str], str]:
    """The names on a page, and the token of the next."""
    page = await server.voices.ListVoices(voice_pb2.ListVoicesRequest(**request))
    return [voice.name for voice in page.voices], page.next_page_token


def test_pages(run):
    async def main():
        async with voice_server() as server:
            names = ["zoe", "anna", "小明", "Bob", "eve"]
            for name in names:
                await server.voices.CreateVoice(upload(recording(), name=name))
            expected = ["default", *sorted(names)]
            assert await listed(server) == await listed(server, page_size=6) == (expected, "")
            for size in range(1, 8):
                found, token = await listed(server, page_size=size)
                while token:
                    page, token = await listed(server, page_size=size, page_token=token)
                    assert 1 <= len(page) <= size
                    found += page
                assert found == expected
            for name in names:
                await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name))

    run(main())


def test_voices_that_go_and_come_between_pages(run):
    async def main():
        async with voice_server() as server:
            for name in ("a", "b", "c", "d"):
                await server.voices.CreateVoice(upload(recording(), name=name))
            first, token = await listed(server, page_size=3)
            for name in ("b", "c"):  # the last one of the page among them
                await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name))
            await server.voices.CreateVoice(upload(recording(), name="cc"))
            assert first == ["default", "a", "b"]
            assert await listed(server, page_size=3, page_token=token) == (["cc", "d"], "")

    run(main())


def test_a_page_has_at_most_so_many_bytes(run, monkeypatch):
    monkeypatch.setattr(voice_service, "MAX_PAGE_BYTES", 2500)

    async def main():
        async with voice_server() as server:
            for name in ("a", "b", "c"):
                await server.voices.CreateVoice(upload(recording(), name=name, transcript="x" * 900))
            await server.voices.CreateVoice(upload(recording(), name="d", labels={str(n): "x" * 256 for n in range(9)}))
            first, token = await listed(server)
            second, token = await listed(server, page_token=token)
            third, token = await listed(server, page_token=token)
            assert (first, second, third, token) == (["default", "a", "b"], ["c"], ["d"], "")

    run(main())


def test_more_voices_than_fit_into_a_message(run):
    """What gRPC takes as one message is 4 MiB, unless a client sets more: pages are smaller, whatever their size is."""
    sound = np.zeros(1600, np.float32)
    phrases = [Filler(f"Phrase {n}.", "happy", "en", sound, 16_000, (100,), "starter", "scripted-1") for n in range(40)]

    async def main():
        async with voice_server() as server:
            words = Recording(np.ones(16_000, np.float32), 16_000, "words " * 160)
            first = replace(build_voice("v0", words, {}, 1.0), fillers=tuple(phrases))
            for number in range(1800):
                server.store.keep_in_memory(replace(first, name=f"v{number}"))
            found, token, bytes_of_all, pages = [], "", 0, 0
            while token or not found:
                request = voice_pb2.ListVoicesRequest(page_size=1000, page_token=token)
                page = await server.voices.ListVoices(request)
                assert page.ByteSize() <= voice_service.MAX_PAGE_BYTES + 10_000
                found += [voice.name for voice in page.voices]
                token, bytes_of_all, pages = page.next_page_token, bytes_of_all + page.ByteSize(), pages + 1
            assert found == ["default", *sorted(f"v{number}" for number in range(1800))]
            assert bytes_of_all > 4 << 20 and pages >= 5

    run(main())


def test_page_sizes(run):
    async def main():
        async with voice_server() as server:
            for size in (1, 1000):
                assert (await listed(server, page_size=size))[0] == ["default"]
            for size in (0, -1, 1001, -(1 << 31)):
                status = status_of(await failed(server.voices.ListVoices(voice_pb2.ListVoicesRequest(page_size=size))))
                assert code_and_field(status) == (INVALID, "page_size")
                assert (reason_of(status), values_of(status)) == ("VALUE_OUT_OF_RANGE", {"min": "1", "max": "1000"})

    run(main())


BAD_TOKENS = ["x", "!", "MGRlZmF1bHQ=!", "Mg", "M", "ä", "MGRl\nZmF1bHQ", page_token((True, "../etc")), "A" * 1_000_000]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=lambda token: repr(token[:12]))
def test_bad_page_tokens(run, token):
    async def main():
        async with voice_server() as server:
            expected = (INVALID, "page_token", "VALUE_INVALID")
            assert await refusal(server.voices.ListVoices(voice_pb2.ListVoicesRequest(page_token=token))) == expected

    run(main())
