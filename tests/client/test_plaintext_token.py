"""A token goes to another machine only where the connection is encrypted, or where that was allowed."""

import pytest

from intone.client import AsyncSpeechClient, SpeechClient, tls
from intone.client.__main__ import main

LOCAL = [
    "127.0.0.1:50051",
    "127.8.8.8",
    "[::1]:50051",
    "localhost:1",
    "LOCALHOST:1",
    "unix:/run/intone",
    "ipv4:127.0.0.1:1",
    "dns:///localhost:1",
]
FAR = [
    "192.0.2.1:50051",
    "tts.example:443",
    "[2001:db8::1]:1",
    "dns:///tts.example:1",
    "ipv4:10.0.0.1:1",
    "localhost.example:1",
    "127.0.0.1.example:1",
]


@pytest.mark.parametrize("target", LOCAL)
def test_to_this_machine(target):
    assert AsyncSpeechClient(target, token="secret").target == target


@pytest.mark.parametrize("target", FAR)
@pytest.mark.parametrize("kind", [AsyncSpeechClient, SpeechClient])
def test_to_another_machine(monkeypatch, kind, target):
    monkeypatch.delenv("INTONE_TOKEN", raising=False)
    assert AsyncSpeechClient(target).target == target  # there is no token
    with pytest.raises(ValueError, match=r"unencrypted.*TLS.*allow_plaintext_token=True") as raised:
        kind(target, token="secret")
    assert "secret" not in str(raised.value)
    monkeypatch.setenv("INTONE_TOKEN", "secret")
    with pytest.raises(ValueError, match="unencrypted"):
        kind(target)
    assert AsyncSpeechClient(target, credentials=tls()).target == target
    assert AsyncSpeechClient(target, allow_plaintext_token=True).target == target


def test_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setenv("INTONE_TOKEN", "secret")
    assert main(["info", "--server", "192.0.2.1:1"]) == 2
    printed = capsys.readouterr().err
    assert "--plaintext-token" in printed and "secret" not in printed
