"""The TOML file: what --print-config writes can be read, and paths in it are relative to it."""

import re
import sys
from pathlib import Path

import pytest

from intone.server import command_line
from intone.server.config import Config
from intone.server.engines.registry import ENGINES
from intone.server.settings_file import keys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GIVEN = [
    *("--port", "7", "--drain-s", "2.5", "--no-fillers", "--default-voice", 'a "q" \\ ü \x7f 😀'),
    *("--voxcpm", "nano", "--random-weights", "--metrics-port", "9"),
]


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("INTONE_TOKEN", raising=False)


@pytest.fixture
def printed(capsys):
    """`printed(arguments)`: what `intone-server --print-config` prints."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            command_line.load([*arguments, "--print-config"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


def load(text: str, folder: Path) -> Config:
    (folder / "intone.toml").write_text(text, "utf8")
    return command_line.load(["--config", str(folder / "intone.toml")])


@pytest.mark.parametrize("given", [[], GIVEN], ids=["defaults", "given"])
def test_a_printed_file_gives_the_same_settings(printed, tmp_path, given):
    text = printed(*given)
    assert max(map(len, text.splitlines())) <= 120
    assert load(text, tmp_path) == command_line.load(given)
    # Also with every default written out.
    everything = re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)
    assert tomllib.loads(everything).keys() == {key.name for key in keys(ENGINES)}
    assert load(everything, tmp_path) == command_line.load(given)


def test_a_printed_file_has_the_help_and_the_range_of_each_setting(printed):
    text = " ".join(printed().replace("\n# ", " ").split())
    for key in keys(ENGINES):
        assert " ".join(key.help.split()) in text, key.name
    assert "takes a free one (0 to 65535) #port = 50051" in text
    assert "(debug | info | warning | error)" in text
    for heading in command_line.SECTIONS.values():
        assert f"# ---- {heading}" in printed()


def test_relative_paths_in_the_file_are_relative_to_it(tmp_path, monkeypatch):
    folder = tmp_path / "etc"
    (folder / "models" / "big").mkdir(parents=True)
    (folder / "token").write_text("secret")
    monkeypatch.chdir(tmp_path)
    text = """
token_file = "token"
voices = "voices"
pack_cache = "off"
tls_certificate = "/etc/cert.pem"
tls_key = "~/key.pem"
voxcpm = "models/big"
indextts = "nano"
"""
    (folder / "intone.toml").write_text(text)
    config = command_line.load(["--config", "etc/intone.toml"])
    assert config.token == "secret"
    paths = (config.voices, config.pack_cache, config.tls_certificate, config.tls_key)
    assert paths == ("etc/voices", "off", "/etc/cert.pem", "~/key.pem")
    assert config.engine_settings["voxcpm"] == "etc/models/big"
    assert config.engine_settings["indextts"] == "nano"  # a name
    for value, meant in {"./nano": "etc/nano", "maker/model": "maker/model", "": ""}.items():
        (folder / "intone.toml").write_text(f'voxcpm = "{value}"')
        assert command_line.load(["--config", "etc/intone.toml"]).engine_settings["voxcpm"] == meant
    # Flags are relative to the working directory.
    assert command_line.load(["--config", "etc/intone.toml", "--voices", "v"]).voices == "v"


def test_a_printed_file_holds_paths_that_do_not_depend_on_its_place(printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "big").mkdir(parents=True)
    flags = "--voices v --indextts ./x --voxcpm-lora models/big --pack-cache off --voxcpm nano --port-file ~/p"
    found = tomllib.loads(printed(*flags.split()))
    absolute = (found["voices"], found["indextts"], found["voxcpm_lora"])
    assert absolute == tuple(str(tmp_path / part) for part in ("v", "x", "models/big"))
    assert (found["pack_cache"], found["voxcpm"], found["port_file"]) == ("off", "nano", "~/p")
