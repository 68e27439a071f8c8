"""Settings that contradict each other are refused at the start."""

import re

import pytest

from intone.server import command_line
from intone.server.config import public_settings
from intone.server.conflicts import CONFLICTS, NEEDS, ORDERED, PARTS
from intone.server.errors import ConfigError
from intone.server.runtime.loading import loaders

REFUSED = {
    "--tls-certificate a.pem": "tls_certificate and tls_key go together",
    "--tls-key a.pem": "tls_certificate and tls_key go together",
    "--tls-client-ca a.pem": "tls_client_ca needs tls_certificate",
    "--host 0.0.0.0": "calls need no authentication",
    "--port 9090 --metrics-port 9090": "port and metrics_port are both 9090",
    "--emotion-analyzer qwen": "qwen needs emotion_model",
    "--min-recording-ms 5000 --max-recording-ms 2000": "min_recording_ms is 5000, more than max_recording_ms, 2000",
    "--max-utterance-characters 500": "max_text_characters is 16384, more than max_utterance_characters, 500",
    "--max-utterance-characters 300000": "max_utterance_characters is 300000, more than max_stream_characters, 262144",
    "--first-unit-characters 200": "first_unit_characters must be less than max_unit_characters, 200",
    "--chunk-ms 500 --max-lead-ms 400": "chunk_ms is 500, more than max_lead_ms, 400",
    "--max-calls 8 --max-streams 9": "max_calls must be at least max_streams, 9",
}
ALLOWED = [
    "",
    "--tls-certificate a.pem --tls-key k.pem --tls-client-ca ca.pem --host 0.0.0.0",
    "--port 0 --metrics-port 0",
    "--port 9090 --metrics-port 9090 --metrics-host 127.0.0.2",
    "--emotion-analyzer qwen --emotion-model folder",
    "--min-recording-ms 2000 --max-recording-ms 2000",
    "--max-utterance-characters 16384",
    "--first-unit-characters 199",
    "--chunk-ms 400 --max-lead-ms 400",
    "--max-calls 9 --max-streams 9",
]
NOT_LOADED = {
    "--default-engine indextts": "default_engine names indextts, which is not loaded: give --indextts MODEL",
    "--default-engine starter --no-starter --voxcpm folder": "default_engine names starter, which is not loaded",
    "--emotion-engines angry=indextts": "emotion_engines names indextts, which is not loaded",
    "--dtype indextts=int8": "dtype names indextts, which is not loaded",
    "--device starter=cpu,indextts=cpu": "device names indextts, which is not loaded",
}


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("INTONE_TOKEN", raising=False)


@pytest.mark.parametrize(("flags", "words"), REFUSED.items(), ids=list(REFUSED))
def test_contradictions_are_refused(flags, words):
    with pytest.raises(ConfigError) as raised:
        command_line.load(flags.split())
    assert words in str(raised.value)


HIGHER = {
    "min_recording_ms": (3000, 2000),
    "max_text_characters": (300, 200),
    "max_utterance_characters": (16_400, 16_390),
    "chunk_ms": (300, 200),
    "max_calls_per_caller": (66, 64),
    "max_voices_bytes_per_owner": (3 << 20, 2 << 20),
}
"""Values of two settings of which the first is too high, where 3 and 2 are out of range."""


def flags_of(**values):
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.parametrize(("first", "second"), [*ORDERED, *PARTS])
def test_a_setting_may_not_be_more_than_the_one_that_it_is_a_part_of(first, second):
    high, low = HIGHER.get(first, (3, 2))
    more = {"max_text_characters": 100} if first == "max_utterance_characters" else {}
    with pytest.raises(ConfigError, match=rf"^{first} is {high}(\.0)?, more than {second}, {low}(\.0)?(: it has no|$)"):
        command_line.load(flags_of(**{first: high, second: low, **more}))
    command_line.load(flags_of(**{first: low, second: low, **more}))


@pytest.mark.parametrize(("first", "second"), PARTS)
def test_one_setting_is_enough_to_lower_a_limit(first, second):
    low = HIGHER.get(first, (3, 2))[1]
    command_line.load(flags_of(**{second: low}))


@pytest.mark.parametrize(("first", "second"), NEEDS)
def test_a_setting_that_has_no_effect_without_another_one_is_refused(first, second):
    value = {"client_roles": "speak", "metrics_host": "127.0.0.2", "max_resume_bytes": 5000}.get(first, 60)
    off = {} if second in ("tls_client_ca", "metrics_port") else {second: 0}
    with pytest.raises(ConfigError, match=f"^{first} has no effect without {second}: give both or neither"):
        command_line.load(flags_of(**{first: value, **off}))
    on = {"tls_client_ca": "ca.pem", "metrics_port": 9464}.get(second, 1)
    tls = {"tls_certificate": "a.pem", "tls_key": "k.pem"} if second == "tls_client_ca" else {}
    command_line.load(flags_of(**{first: value, second: on, **tls}))
    command_line.load(flags_of(**off))


def test_every_limit_of_one_caller_is_compared_with_that_of_all():
    names = {setting.name for setting in public_settings()}
    parts = {
        name: re.sub("_per_(caller|owner)$", "", name) for name in names if re.search("_per_(caller|owner)$", name)
    }
    assert parts and set(parts.values()) <= names and set(parts.items()) <= set(PARTS)
    ranges = {
        re.sub("^(min|max)_", "", name) for name in names if f"min_{name[4:]}" in names and f"max_{name[4:]}" in names
    }
    assert {(f"min_{name}", f"max_{name}") for name in ranges} <= set(ORDERED)


def test_every_contradiction_of_the_table_is_tried():
    texts = [text.partition("{")[0].strip() for _, text in CONFLICTS]
    told = []
    for flags in REFUSED:
        with pytest.raises(ConfigError) as raised:
            command_line.load(flags.split())
        told.append(str(raised.value))
    assert [text for text in texts if not any(one.startswith(text) for one in told)] == []


@pytest.mark.parametrize("flags", ALLOWED)
def test_settings_at_the_edge_of_a_contradiction_are_not(flags):
    command_line.load(flags.split())


@pytest.mark.parametrize(("flags", "words"), NOT_LOADED.items(), ids=list(NOT_LOADED))
def test_an_engine_that_a_setting_names_must_be_loaded(flags, words):
    with pytest.raises(ConfigError) as raised:
        loaders(command_line.load(flags.split()))
    assert words in str(raised.value)
    assert loaders(command_line.load([*flags.replace("--no-starter", "").split(), "--indextts", "folder"]))
