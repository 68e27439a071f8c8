"""The principal of a call is known wherever the call is handled."""

import asyncio

import pytest

from intone.proto import speech_pb2
from intone.server.rpc.caller import NOBODY, Principal, Role, principal
from tests.support.fakes import ScriptedEngine
from tests.support.live_server import live

BEARER = (("authorization", "Bearer secret"),)


class Seen(ScriptedEngine):
    """Records the principal in the thread of the engine's loop, which is outside every call."""

    def __init__(self) -> None:
        super().__init__()
        self.principals: list[Principal] = []

    def step(self, states):
        self.principals.append(principal())
        return super().step(states)


@pytest.mark.parametrize(("token", "name"), [("", ""), ("secret", "token")])
def test_handlers_and_their_tasks_see_the_principal(run, monkeypatch, token, name):
    seen: list[Principal] = []

    async def main():
        engine = Seen()
        async with live(engine, token=token) as server:
            service = server.app.service
            create = service._opening

            async def configured(messages):
                seen.append(principal())
                seen.append(await asyncio.create_task(_principal()))
                seen.append(await asyncio.to_thread(principal))
                return await create(messages)

            monkeypatch.setattr(service, "_opening", configured)
            metadata = BEARER if token else ()
            call = server.speech.StreamSynthesize(metadata=metadata)
            await call.write(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig()))
            await call.done_writing()
            assert [one async for one in call]
            request = speech_pb2.SynthesizeRequest(text="Hi.")
            assert [one async for one in server.speech.Synthesize(request, metadata=metadata)]
        assert engine.principals and set(engine.principals) == {NOBODY}

    async def _principal():
        return principal()

    run(main())
    assert len(seen) == 3 and {one.name for one in seen} == {name}
    assert all(one.may(role) for one in seen for role in Role)


def test_nobody_has_no_role():
    assert principal() is NOBODY and not any(NOBODY.may(role) for role in Role)
    assert all(Principal("ops", frozenset({Role.ADMIN})).may(role) for role in Role)
    assert not Principal("ada", frozenset({Role.MANAGE})).may(Role.SPEAK)
