"""Settings: flags, file, environment, and the error messages of the command."""

import dataclasses
import os
import socket
import subprocess
import sys

import pytest
import torch

from intone.server import command_line
from intone.server.app import serving
from intone.server.config import Config
from intone.server.engines.registry import ENGINES
from intone.server.errors import ConfigError
from intone.server.rpc.authentication import TokensFile
from intone.server.rpc.caller import Role
from intone.server.runtime import openmp
from tests.support.fakes import ScriptedEngine


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("INTONE_TOKEN", raising=False)


@pytest.fixture
def settings(tmp_path):
    """`settings(text)`: the arguments that read a file of this text."""

    def write(text: str | bytes) -> list[str]:
        path = tmp_path / "intone.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["--config", str(path)]

    return write


def test_defaults_and_flags():
    assert command_line.load([]) == Config()
    flags = "--port 0 --drain-s 2 --no-starter --voxcpm nano --random-weights --log-level debug"
    given = command_line.load(flags.split())
    assert given == Config.of(port=0, drain_s=2.0, starter=False, voxcpm="nano", random_weights=True, log_level="debug")
    assert given.engine_settings == {
        "voxcpm": "nano",
        "voxcpm_lora": "",
        "voxcpm_graphs": True,
        "indextts_graphs": True,
        "indextts_pace": True,
        "indextts_voice_cache": False,
        "indextts": "",
        "drop_encoders": False,
        "starter": False,
    }


def test_flags_win_over_the_file(settings):
    arguments = settings('port = 7\ndrain_s = 5\nstarter = false\nhost = "::1"\nvoxcpm = "nano"\nrandom_weights = true')
    assert command_line.load(arguments) == Config.of(
        port=7, drain_s=5.0, starter=False, host="::1", voxcpm="nano", random_weights=True
    )
    won = command_line.load([*arguments, "--port", "8", "--starter", "--host", "127.0.0.1"])
    assert (won.port, won.engine_settings["starter"], won.host, won.drain_s) == (8, True, "127.0.0.1", 5.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", ["prot", "unknown key", "did you mean 'port'?"]),
        ("max-lead-ms = 300", ["max-lead-ms", "unknown key", "write max_lead_ms"]),
        ("max-laed-ms = 300", ["unknown key", "did you mean 'max_lead_ms'?"]),
        ("colour = 1", ["unknown key", "--print-config"]),
        ('token = "secret"', ["token", "unknown key"]),
        ('port = "7"', ["port", "int"]),
        ("port = 7.0", ["port", "int"]),
        ("port = true", ["port", "int"]),
        ("starter = 1", ["starter", "bool"]),
        ("host = 1", ["host", "str"]),
        ('drain_s = "5"', ["drain_s", "float"]),
        ("[host]\nname = 1", ["host", "str"]),
        ("port = 65536", ["port", "65536", "0 to 65535"]),
        ("drain_s = nan", ["drain_s", "nan"]),
        ("emotion_threshold = 1.5", ["emotion_threshold", "1.5"]),
        ("idle_timeout_s = inf", ["idle_timeout_s", "inf"]),
        ('log_level = "loud"', ["log_level", "loud", "warning"]),
        ("port = ", ["intone.toml", "not TOML"]),
        (b"host = '\xff'", ["intone.toml", "not TOML"]),
    ],
)
def test_file_that_cannot_be_used(settings, text, words):
    with pytest.raises(ConfigError) as raised:
        command_line.load(settings(text))
    assert [word for word in words if word not in str(raised.value)] == []


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the settings file .*missing\.toml: No such file"):
        command_line.load(["--config", str(tmp_path / "missing.toml")])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--random-weights"], "random_weights needs voxcpm"),
        (
            ["--default-engine", "nobody"],
            "default_engine is 'nobody'; it must be one of auto, voxcpm, indextts, starter",
        ),
        (
            ["--engine-order", "starter,nobody"],
            "engine_order names the engine 'nobody'; engines are voxcpm, indextts, ",
        ),
        (["--engine-order", "starter,starter"], "engine_order names starter twice"),
        (["--emotion-engines", "sad=nobody"], "emotion_engines gives sad to 'nobody'; engines are voxcpm, indextts"),
        (["--default-engine", "voxcmp"], "did you mean 'voxcpm'"),
        (["--emotion-engines", "hapy=voxcpm"], "did you mean 'happy'"),
        (["--emotion-engines", "happy=voxcmp"], "did you mean 'voxcpm'"),
        (["--dtype", "voxcmp=int8"], "did you mean 'voxcpm'"),
        (["--log-level", "inf"], "did you mean 'info'"),
        (["--emotion-engines", "cross=starter"], "emotion_engines names the emotion 'cross'"),
        (["--max-batch", "-1"], "max_batch is -1"),
    ],
)
def test_settings_that_do_not_go_together(arguments, words):
    with pytest.raises(ConfigError, match=words):
        command_line.load(arguments)


@pytest.mark.parametrize(
    ("dtype", "voxcpm", "indextts"),
    [
        ("auto", "auto", "auto"),
        ("int8", "int8", "int8"),
        ("indextts=bf16", "auto", "bf16"),
        ("voxcpm=int8, indextts=fp32", "int8", "fp32"),
    ],
)
def test_precision_of_each_engine(dtype, voxcpm, indextts):
    assert command_line.load(["--dtype", dtype]).precisions() == {"voxcpm": voxcpm, "indextts": indextts}


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("", "dtype is ''; it must be one of auto, int8, bf16, fp32, or "),
        ("fp16", "dtype is 'fp16'; it must be one of auto, int8, bf16, fp32, or "),
        ("int8,bf16", "dtype is 'int8,bf16'; it must be one of auto, int8, bf16, fp32, or "),
        ("voxcpm=int4", "dtype gives voxcpm 'int4'; it must be one of auto, int8, bf16, fp32"),
        ("voxcpm=", "dtype gives voxcpm ''; it must be one of auto, int8, bf16, fp32"),
        ("starter=int8", "dtype names the engine 'starter'; those with one are voxcpm, indextts"),
        ("voxcpm=int8,fp32", "dtype names the engine 'fp32'; those with one are voxcpm, indextts"),
        ("voxcpm=int8,", "dtype names the engine ''; those with one are voxcpm, indextts"),
        ("voxcpm=int8,voxcpm=fp32", "dtype names voxcpm twice, with int8 and with fp32"),
    ],
)
def test_precision_that_cannot_be_used(dtype, words):
    with pytest.raises(ConfigError) as raised:
        command_line.load(["--dtype", dtype])
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("device", "voxcpm", "indextts"),
    [
        ("cpu", "cpu", "cpu"),
        ("cuda", "cuda", "cuda"),
        ("cuda:1", "cuda:1", "cuda:1"),
        ("auto", "auto", "auto"),
        ("voxcpm=cuda:2, indextts=cpu", "cuda:2", "cpu"),
        ("indextts=auto", "cpu", "auto"),
    ],
)
def test_device_of_each_engine(device, voxcpm, indextts):
    assert command_line.load(["--device", device]).devices() == {
        "voxcpm": voxcpm,
        "indextts": indextts,
        "starter": "cpu",
    }


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            "gpu",
            "device is 'gpu'; it must be one of auto, cpu, cuda, cuda:N, or a list such as voxcpm=cpu,indextts=cpu",
        ),
        ("cuda:", "device is 'cuda:'; it must be one of"),
        ("voxcpm=mps", "device gives voxcpm 'mps'; it must be one of auto, cpu, cuda, cuda:N"),
        ("starter=cuda", "device gives starter 'cuda'; starter runs on the CPU only"),
        ("nobody=cpu", "device names the engine 'nobody'; those with one are voxcpm, indextts, starter"),
    ],
)
def test_device_that_cannot_be_used(device, words):
    with pytest.raises(ConfigError) as raised:
        command_line.load(["--device", device])
    assert words in str(raised.value)


def test_order_of_the_engines():
    assert command_line.load(["--voxcpm", "folder"]).order() == ["voxcpm", "indextts", "starter"]
    given = command_line.load(["--voxcpm", "folder", "--engine-order", "starter, indextts"])
    assert given.order() == ["starter", "indextts", "voxcpm"]


def test_token(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(" from-file \n")
    monkeypatch.setenv("INTONE_TOKEN", "from-environment")
    assert command_line.load([]).token == "from-environment"
    assert command_line.load(["--token-file", str(file)]).token == "from-file"
    assert "from-file" not in repr(command_line.load(["--token-file", str(file)]))
    for content, words in ((b"\n", "is empty"), (b"\xff\xfe", "ASCII"), ("clé".encode(), "ASCII")):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            command_line.load(["--token-file", str(file)])
    with pytest.raises(ConfigError, match="token_file: cannot read"):
        command_line.load(["--token-file", str(tmp_path / "missing")])


@pytest.mark.parametrize("token", ["", "  "])
def test_empty_token_is_no_token(monkeypatch, token):
    """An unset secret in a manifest must not turn authentication off."""
    monkeypatch.setenv("INTONE_TOKEN", token)
    with pytest.raises(ConfigError, match="INTONE_TOKEN is set, but empty"):
        command_line.load([])


OPEN = ["0.0.0.0", "::", "192.0.2.1", "tts.example", "10.1.2.3"]


@pytest.mark.parametrize("host", OPEN)
def test_open_server_must_be_meant(host, monkeypatch):
    with pytest.raises(ConfigError) as raised:
        command_line.load(["--host", host])
    for way in ("--tokens-file", "INTONE_TOKEN", "--tls-client-ca", "--insecure"):
        assert way in str(raised.value)
    assert command_line.load(["--host", host, "--insecure"]).host == host
    monkeypatch.setenv("INTONE_TOKEN", "secret")
    assert command_line.load(["--host", host]).token == "secret"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "::1%lo"])
def test_loopback_needs_no_authentication(host):
    assert command_line.load(["--host", host]).host == host


def test_new_token(capsys, tmp_path):
    """Its line goes to standard output, to be appended to the file; the token itself does not."""
    with pytest.raises(SystemExit) as ended:
        command_line.load(["--new-token", "agent", "speak", "manage"])
    printed = capsys.readouterr()
    assert ended.value.code == 0
    token = printed.err.split()[-1]
    assert token not in printed.out and len(token) >= 43
    (path := tmp_path / "tokens").write_text(printed.out)
    found = TokensFile(path).credentials().of_token(token.encode())
    assert found is not None and (found.name, found.roles) == ("agent", {Role.SPEAK, Role.MANAGE})
    for wrong in (["--new-token", "a b"], ["--new-token", "agent", "sing"]):
        with pytest.raises(SystemExit) as ended:
            command_line.load(wrong)
        assert ended.value.code == 2 and "--new-token: line 1: " in capsys.readouterr().err


def test_help_shows_every_setting(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.load(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    public = {one.name: one.metadata["help"] for one in dataclasses.fields(Config) if "help" in one.metadata}
    public |= {one.name: one.help for entry in ENGINES.values() for one in entry.settings}
    assert len(public) > 40 and {"voxcpm", "drop_encoders", "device"} <= public.keys()
    for name, text in public.items():
        assert f"--{name.replace('_', '-')}" in shown, name
        assert text.split()[0] in shown


# ---- the command ----------------------------------------------------------------------------------------------------


TINY = ("--no-starter", "--voxcpm", "nano", "--random-weights", "--threads", "1")


def refused(*arguments: str) -> str:
    """Standard error of `intone-server`, which must end with status 2."""
    command = [sys.executable, "-m", "intone.server", "--port", "0", *arguments]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_unknown_flag_and_bad_value():
    said = refused("--prot", "1")
    assert "unknown argument --prot; did you mean '--port'?" in said and len(said.splitlines()) == 2
    assert "invalid int value: 'x'" in refused("--max-batch", "x")
    assert "max_batch is 513; it must be from 0 to 512" in refused("--max-batch", "513")


@pytest.mark.slow
def test_missing_checkpoint_folder(tmp_path):
    folder = str(tmp_path / "a rather long [name] of a folder of checkpoints that is not there")
    assert folder in refused("--no-starter", "--voxcpm", folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.slow
def test_cuda_where_there_is_none():
    said = refused(*TINY, "--device", "cuda")
    assert "device: cannot use cuda: torch" in said and "Or set device to cpu" in said and "loading" not in said


@pytest.mark.parametrize("flags", [("--tls-certificate", "{}/c.pem", "--tls-key", "{}/k.pem")])
def test_missing_tls_file(tmp_path, flags):
    said = refused(*TINY, *(flag.format(tmp_path) for flag in flags))
    assert f"tls_certificate: cannot read {tmp_path}/c.pem: No such file or directory" in said
    for name in "ck":
        (tmp_path / f"{name}.pem").write_text("not a certificate")
    assert "not a PEM certificate and its key" in refused(*TINY, *(flag.format(tmp_path) for flag in flags))


def test_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(*TINY, "--port", port)
        assert f"cannot listen on 127.0.0.1:{port}" in said and "another server" in said


@pytest.mark.slow
def test_port_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    assert "port_file: cannot write" in refused(*TINY, "--port-file", str(tmp_path / "file" / "port"))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"voices": __file__}, f"voices: cannot use the folder {__file__}"),
        ({"default_voice": "nobody"}, "default_voice: .*nobody"),
        ({"default_voice": "nano"}, "default_voice: .*nano"),  # the engine that is loaded has no such voice
        ({"host": "no.such.host.invalid", "insecure": True}, "cannot listen on no.such.host.invalid:0"),
    ],
    ids=["voices", "default voice", "default voice of an engine", "host"],
)
def test_settings_that_fail_at_start_up(run, setting, words):
    async def main() -> None:
        with pytest.raises(ConfigError, match=words):
            async with serving(Config(port=0, **setting), {"starter": ScriptedEngine}):
                raise AssertionError("it serves")

    run(main())


def test_openmp_spin_count(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that both are put back afterwards
        monkeypatch.delenv(name)
    openmp.let_waiting_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    openmp.let_waiting_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    openmp.let_waiting_threads_sleep()
    assert "GOMP_SPINCOUNT" not in os.environ
    # The variable is read when torch is loaded, so nothing may do that before the settings are known.
    asked = "import sys, intone.server.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
