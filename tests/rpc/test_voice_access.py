"""Whose voices are whose, over the loopback: who sees, speaks with, changes and deletes a voice, and how many there may
be.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from intone.client import AsyncSpeechClient, errors
from intone.client.voices import FillerClip
from intone.proto import speech_pb2, voice_pb2
from intone.server.config import Config
from intone.server.errors import ConfigError
from intone.server.rpc.tokens_file import new_token
from intone.server.voices.enrolment import open_store
from tests.support.fakes import ScriptedEngine
from tests.support.live_server import Live, live
from tests.support.rpc_status import code_of, error_of, failed, reason_of, status_of, values_of
from tests.support.voice_server import VoiceServer, recording, upload, voice_server

CLIP = voice_pb2.FillerClip(text="Hm!", language="en", audio=recording(400))


class Callers:
    """Calls of a server by the name of who makes them."""

    def __init__(self, server: VoiceServer | Live, tokens: dict[str, str]) -> None:
        self._server, self._tokens = server, tokens

    def bearer(self, who: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._tokens[who]}"),)

    def create(self, who: str, name: str, data: bytes | None = None, **config: Any) -> Any:
        messages = upload(data or recording(), name, **config)
        return self._server.voices.CreateVoice(messages, metadata=self.bearer(who))

    def add_fillers(self, who: str, name: str) -> Any:
        request = voice_pb2.AddFillersRequest(voice=name, clips=[CLIP])
        return self._server.voices.AddFillers(request, metadata=self.bearer(who))

    def remove_fillers(self, who: str, name: str) -> Any:
        request = voice_pb2.RemoveFillersRequest(voice=name)
        return self._server.voices.RemoveFillers(request, metadata=self.bearer(who))

    def share(self, who: str, name: str, *others: str) -> Any:
        request = voice_pb2.ShareVoiceRequest(name=name, shared_with=others)
        return self._server.voices.ShareVoice(request, metadata=self.bearer(who))

    def delete(self, who: str, name: str) -> Any:
        return self._server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name), metadata=self.bearer(who))

    async def voice(self, who: str, name: str) -> voice_pb2.Voice:
        request = voice_pb2.GetVoiceRequest(name=name)
        return (await self._server.voices.GetVoice(request, metadata=self.bearer(who))).voice

    async def listed(self, who: str) -> list[str]:
        request = voice_pb2.ListVoicesRequest()
        page = await self._server.voices.ListVoices(request, metadata=self.bearer(who))
        assert not page.next_page_token
        return [voice.name for voice in page.voices]


@pytest.fixture
def tokens(tmp_path: Path) -> tuple[str, dict[str, str]]:
    """The path of a tokens file, and the tokens in it by name."""
    roles = {"ada": ["speak", "manage"], "bob": ["speak", "manage"], "agent": ["speak"], "ops": ["admin"]}
    made = {name: new_token(name, given) for name, given in roles.items()}
    path = tmp_path / "tokens"
    path.write_text("".join(line + "\n" for _, line in made.values()))
    return str(path), {name: token for name, (token, _) in made.items()}


@contextlib.asynccontextmanager
async def callers(tokens: tuple[str, dict[str, str]], **settings: Any) -> AsyncIterator[Callers]:
    async with voice_server(tokens_file=tokens[0], **settings) as server:
        yield Callers(server, tokens[1])


async def why(call: Any) -> str:
    """The reason of a call that fails; "OK" if it does not."""
    error = await error_of(call)
    return "OK" if error is None else reason_of(status_of(error))


def test_a_voice_is_seen_and_changed_by_its_owner_and_admins(run, tokens, tmp_path):
    async def main():
        async with callers(tokens, voices=str(tmp_path / "voices")) as as_:
            made = (await as_.create("ada", "hers", transcript="what she says")).voice
            assert made.owner == "ada"
            await as_.create("bob", "his")
            shared = (await as_.create("ops", "shared", transcript="what anybody says")).voice
            assert shared.owner == ""
            assert await as_.listed("ada") == ["default", "hers", "shared"]
            assert await as_.listed("bob") == ["default", "his", "shared"]
            assert await as_.listed("agent") == ["default", "shared"]
            assert await as_.listed("ops") == ["default", "hers", "his", "shared"]

            assert (await as_.voice("ada", "hers")).transcript == "what she says"
            assert (await as_.voice("ops", "hers")).transcript == "what she says"
            assert await why(as_.voice("bob", "hers")) == "VOICE_NOT_FOUND"
            assert (await as_.voice("bob", "shared")).transcript == ""  # may be a person's words

            for change in (as_.add_fillers, as_.remove_fillers, as_.delete):
                assert await why(change("bob", "hers")) == "VOICE_NOT_FOUND"
                assert await why(change("bob", "shared")) == "PERMISSION_DENIED"
            for change in (as_.add_fillers, as_.remove_fillers, as_.delete):
                assert await why(change("ada", "hers")) == "OK"
                assert await why(change("ops", "his")) == "OK"
                assert await why(change("ops", "shared")) == "OK"
            assert await as_.listed("ops") == ["default"]

    run(main())


def test_an_owner_shares_a_voice_with_others_who_change_nothing(run, tokens, tmp_path):
    async def main():
        async with callers(tokens, voices=str(tmp_path / "voices")) as as_:
            await as_.create("ada", "hers", transcript="what she says")
            made = (await as_.share("ada", "hers", "bob", "agent", "bob", "nobody yet")).voice
            assert made.shared_with == ["agent", "bob", "nobody yet"] and made.owner == "ada"
            assert await as_.listed("bob") == await as_.listed("agent") == ["default", "hers"]
            seen = await as_.voice("bob", "hers")
            assert (seen.owner, seen.transcript, list(seen.shared_with)) == ("ada", "", [])
            assert (await as_.voice("ops", "hers")).shared_with == made.shared_with
            for change in (as_.add_fillers, as_.remove_fillers, as_.delete, as_.share):
                assert await why(change("bob", "hers")) == "PERMISSION_DENIED"
            assert await why(as_.create("bob", "hers", recording(1500), replace=True)) == "PERMISSION_DENIED"
            assert await why(as_.share("agent", "hers")) == "PERMISSION_DENIED"  # its role is not to manage voices
        async with callers(tokens, voices=str(tmp_path / "voices")) as as_:
            assert (await as_.voice("ada", "hers")).shared_with == ["agent", "bob", "nobody yet"]
            await as_.share("ops", "hers", "agent")
            assert await as_.listed("bob") == ["default"] and await as_.listed("agent") == ["default", "hers"]
            assert await why(as_.share("bob", "hers", "bob")) == "VOICE_NOT_FOUND"
            await as_.share("ada", "hers")
            assert await as_.listed("agent") == ["default"]

    run(main())


@pytest.mark.parametrize(
    ("name", "others", "reason"),
    [
        ("nothing", ["bob"], "VOICE_NOT_FOUND"),
        ("default", ["bob"], "VALUE_INVALID"),
        ("free", ["bob"], "VALUE_INVALID"),
        ("hers", [" "], "VALUE_MISSING"),
        ("hers", ["x" * 257], "VALUE_OUT_OF_RANGE"),
        ("hers", ["a\x00b"], "TEXT_INVALID"),
        ("hers", [str(number) for number in range(101)], "VALUE_OUT_OF_RANGE"),
    ],
)
def test_a_voice_that_cannot_be_shared_so(run, tokens, name, others, reason):
    async def main():
        async with callers(tokens) as as_:
            await as_.create("ada", "hers")
            await as_.create("ops", "free")
            assert await why(as_.share("ops", name, *others)) == reason
            assert (await as_.voice("ops", "hers")).shared_with == []

    run(main())


def test_every_change_is_logged_with_who_made_it(run, tokens, caplog):
    caplog.set_level(logging.INFO, "intone.server.audit")

    async def main():
        async with callers(tokens) as as_:
            await as_.create("ada", "hers")
            await as_.create("ada", "hers")  # the same again changes nothing
            await as_.add_fillers("ada", "hers")
            await as_.remove_fillers("ops", "hers")
            assert await why(as_.delete("bob", "hers")) == "VOICE_NOT_FOUND"
            await as_.delete("ada", "hers")

    run(main())
    assert [record.getMessage() for record in caplog.records if record.name == "intone.server.audit"] == [
        "ada created voice hers",
        "ada added 1 fillers to voice hers",
        "ops removed 1 fillers from voice hers",
        "ada deleted voice hers",
    ]


def test_the_built_in_voice_is_read_only_but_for_admins_fillers(run, tokens):
    async def main():
        async with callers(tokens) as as_:
            assert await why(as_.add_fillers("ada", "default")) == "PERMISSION_DENIED"
            assert await why(as_.remove_fillers("ada", "default")) == "PERMISSION_DENIED"
            assert await why(as_.delete("ada", "default")) == "PERMISSION_DENIED"
            assert await why(as_.create("ada", "default", replace=True)) == "VOICE_BUILT_IN"
            assert not (await as_.voice("ada", "default")).fillers
            assert await why(as_.add_fillers("ops", "default")) == "OK"
            assert len((await as_.voice("ada", "default")).fillers) == 1
            assert await why(as_.remove_fillers("ops", "default")) == "OK"
            assert not (await as_.voice("ada", "default")).fillers
            assert await why(as_.delete("ops", "default")) == "VOICE_BUILT_IN"

    run(main())


@pytest.mark.parametrize("replace", [False, True])
def test_a_name_that_another_has_taken(run, tokens, replace):
    """Whatever is uploaded, nothing is told of the other's voice but that the name is taken."""

    async def main():
        async with callers(tokens) as as_:
            hers = (await as_.create("ada", "anna", recording(2000))).voice
            for data in (recording(2000), recording(1500)):
                error = await failed(as_.create("bob", "anna", data, replace=replace))
                assert reason_of(status_of(error)) == "VOICE_EXISTS"
                assert error.details() == "config.name: the name 'anna' is taken; choose another"
            shared = (await as_.create("ops", "shared", recording(2000))).voice
            again = await why(as_.create("bob", "shared", recording(2000), replace=replace))
            assert again == ("PERMISSION_DENIED" if replace else "OK")
            other = await why(as_.create("bob", "shared", recording(1500), replace=replace))
            assert other == ("PERMISSION_DENIED" if replace else "VOICE_EXISTS")
            assert (await as_.voice("ops", "anna")).content_id == hers.content_id
            assert (await as_.voice("ops", "shared")).create_time == shared.create_time

    run(main())


def test_owners_outlive_a_restart(run, tokens, tmp_path):
    async def main():
        for attempt in range(2):
            async with callers(tokens, voices=str(tmp_path / "voices")) as as_:
                if not attempt:
                    await as_.create("ada", "hers")
                assert (await as_.voice("ada", "hers")).owner == "ada"
                assert await as_.listed("bob") == ["default"]
        with pytest.raises(ConfigError, match="default_voice: hers belongs to ada, and nobody else can use it"):
            open_store(Config.of(voices=str(tmp_path / "voices"), default_voice="hers"))

    run(main())


def test_speech_with_the_voice_of_another(run, tokens):
    async def main():
        async with live(ScriptedEngine(), tokens_file=tokens[0]) as server:
            as_ = Callers(server, tokens[1])
            await as_.create("ada", "hers")
            settings = speech_pb2.SpeechSettings(voice="hers")
            request = speech_pb2.SynthesizeRequest(text="Hi.", config=speech_pb2.StreamConfig(defaults=settings))

            async def speak(who: str) -> str:
                return await why(server.speech.Synthesize(request, metadata=as_.bearer(who)))

            assert await speak("ada") == await speak("ops") == "OK"
            assert await speak("bob") == await speak("agent") == "VOICE_NOT_FOUND"
            async with AsyncSpeechClient(f"127.0.0.1:{server.app.port}", token=tokens[1]["ada"]) as client:
                assert (await client.voices.share("hers", ["agent"])).shared_with == ("agent",)
            assert await speak("bob") == "VOICE_NOT_FOUND" and await speak("agent") == "OK"

    run(main())


def test_names_that_differ_in_case_only(run, tmp_path):
    """Their files would be one on file systems that ignore case."""

    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            await server.voices.CreateVoice(upload(recording(), name="Ada"))
            for name in ("ada", "ADA", "Default"):
                error = await failed(server.voices.CreateVoice(upload(recording(), name=name, replace=True)))
                assert reason_of(status_of(error)) == "VOICE_EXISTS"
            assert "a voice named 'default' exists, and names must differ in more than case" in error.details()
            await server.voices.CreateVoice(upload(recording(), name="Ada", replace=True))
            assert [path.name for path in tmp_path.glob("*.safetensors")] == ["Ada.safetensors"]

    run(main())


# ---- how many there may be -------------------------------------------------------------------------------------------


async def check_full(call: Any, limit: int, words: str) -> None:
    error = await failed(call)
    status = status_of(error)
    assert (code_of(status), reason_of(status)) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_VOICES")
    assert values_of(status) == {"limit": str(limit)}
    assert words in error.details()


def test_voices_of_one_owner(run, tokens):
    async def main():
        async with callers(tokens, max_voices_per_owner=2) as as_:
            for name in ("a", "b"):
                await as_.create("ada", name)
            await check_full(as_.create("ada", "c"), 2, "you have 2 voices, the maximum; delete one first")
            assert await why(as_.create("ada", "a", recording(1500), replace=True)) == "OK"
            assert await why(as_.create("bob", "c")) == "OK"
            for name in ("x", "y", "z"):
                assert await why(as_.create("ops", name)) == "OK"
            await as_.delete("ada", "b")
            assert await why(as_.create("ada", "d")) == "OK"
            assert await as_.listed("ada") == ["default", "a", "d", "x", "y", "z"]

    run(main())


def test_voices_of_all(run, tokens):
    async def main():
        async with callers(tokens, max_voices=2) as as_:
            await as_.create("ada", "a")
            await as_.create("bob", "b")
            for who in ("ada", "bob", "ops"):
                await check_full(as_.create(who, "c"), 2, "the server has 2 voices, the maximum; delete one first")
            assert await why(as_.create("ada", "a", recording(1500), replace=True)) == "OK"

    run(main())


def test_bytes_of_all_voices(run, tokens, tmp_path):
    """A recording, its fillers, and a recording that replaces another: all count, and nothing is written."""

    async def main():
        limit, second = 1 << 20, 16_000 * 4
        async with callers(tokens, max_voices_bytes=limit, voices=str(tmp_path / "voices")) as as_:
            await as_.create("ada", "a", recording(8000))
            await as_.create("bob", "b", recording(8000))
            files = {path: path.read_bytes() for path in (tmp_path / "voices").iterdir()}
            assert 0 < limit - 16 * second < 1000 * second // 1000
            await check_full(as_.create("bob", "c", recording(1000)), limit, " voices together would have ")
            await check_full(as_.create("bob", "b", recording(10_000), replace=True), limit, "delete some first")
            await check_full(as_.add_fillers("ada", "a"), limit, "delete some first")
            assert {path: path.read_bytes() for path in (tmp_path / "voices").iterdir()} == files
            assert await why(as_.create("bob", "b", recording(1000), replace=True)) == "OK"
            assert await why(as_.add_fillers("ada", "a")) == "OK"

    run(main())


def test_bytes_of_one_owner(run, tokens):
    async def main():
        async with callers(tokens, max_voices_bytes_per_owner=1 << 20) as as_:
            await as_.create("ada", "a", recording(8000))
            await as_.create("ada", "b", recording(8000))
            refused = as_.create("ada", "c", recording(1000))
            await check_full(refused, 1 << 20, "your voices together would have ")
            assert await why(as_.create("bob", "c", recording(8000))) == "OK"
            for name in ("x", "y", "z"):
                assert await why(as_.create("ops", name, recording(8000))) == "OK"
            await check_full(as_.add_fillers("ada", "a"), 1 << 20, "your voices together would have ")

    run(main())


def test_what_a_python_client_is_told(run, tokens, tmp_path):
    file = tmp_path / "recording.wav"
    file.write_bytes(recording())

    async def main():
        async with live(ScriptedEngine(), tokens_file=tokens[0], max_voices_per_owner=1) as server:
            async with AsyncSpeechClient(f"127.0.0.1:{server.app.port}", token=tokens[1]["ada"]) as client:
                made = await client.voices.create(file, "hers", transcript="the words")
                assert (made.voice.owner, made.voice.transcript) == ("ada", "the words")
                with pytest.raises(errors.FailedPrecondition, match="you have 1 voices, the maximum") as full:
                    await client.voices.create(file, "second")
                assert (full.value.reason, full.value.metadata) == ("TOO_MANY_VOICES", {"limit": "1"})
                assert not full.value.retryable
                with pytest.raises(errors.PermissionDenied, match="only admins change it"):
                    await client.voices.add_fillers("default", [FillerClip("Hm!", "en", recording(400))])
            async with AsyncSpeechClient(f"127.0.0.1:{server.app.port}", token=tokens[1]["bob"]) as client:
                assert [voice.name for voice in await client.voices.list()] == ["default"]
                with pytest.raises(errors.AlreadyExists, match="the name 'hers' is taken; choose another"):
                    await client.voices.create(file, "hers", replace=True)
                with pytest.raises(errors.NotFound):
                    await client.voices.delete("hers")

    run(main())
