"""Servers whose checkpoints are named by repositories of the hub, from a stand-in on the loopback."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from intone.client import SpeechClient
from intone.server.config import Config
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.checkpoint_files import Files
from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.checkpoint.parts import missing_parts
from intone.server.engines.indextts.checkpoint.weights import read_checkpoint
from intone.server.engines.voxcpm import bundled_voice
from intone.server.errors import CheckpointError
from intone.server.runtime.fetching import fetch_models
from intone.server.runtime.loading import Loader, loaders
from intone.server.storage import hub as hub_module
from tests.support.indextts_files import write_checkpoint
from tests.support.real_server import serving
from tests.support.standin_hub import StandInHub, standin_hub

PARTS = {
    "w2v-bert-2.0": "facebook/w2v-bert-2.0",
    "campplus": "funasr/campplus",
    "bigvgan_v2_22khz_80band_256x": "nvidia/bigvgan_v2_22khz_80band_256x",
    "MaskGCT": "amphion/MaskGCT",
}


def fetched(run: Callable[..., Any], chosen: Mapping[str, Loader], offline: bool = False) -> Loader:
    """The loader of IndexTTS, after what it needs was downloaded."""
    loaders, emotion_model = run(fetch_models(Config(hub_offline=offline), chosen))
    assert emotion_model == ""
    return loaders["indextts"]


def environment(monkeypatch: pytest.MonkeyPatch, hub: StandInHub, home: Path) -> None:
    """What a server's process takes from its environment."""
    for name, value in {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_indextts_gets_the_models_that_are_published_separately(tmp_path, monkeypatch, run, size):
    whole = tmp_path / "whole"
    write_checkpoint(whole, sizes.in_memory(size), sizes.documents(size))
    parts = {}
    for name, repository in PARTS.items():
        if (whole / name).is_dir():
            parts[repository] = Path(shutil.move(whole / name, tmp_path / name))
    (whole / "train.log").write_text("not downloaded")
    assert set(missing_parts(whole)) == set(parts)
    with standin_hub({"IndexTeam/IndexTTS-2": whole, **parts}) as hub:
        use_cache(monkeypatch, hub, tmp_path / "cache")
        chosen = loaders(Config.of(indextts="IndexTeam/IndexTTS-2", default_engine="indextts"))
        found = fetched(run, chosen)
        folder = Path(found.spec.source)
        variant = Variant.V25 if size == "nano" else Variant.V2
        files = Files(folder)
        assert files.codec(variant).is_file() and not missing_parts(folder) and not (folder / "train.log").exists()
        assert found.spec.settings["indextts"] == str(folder)
        assert fetched(run, chosen, offline=True).spec.source == str(folder)
        read_checkpoint(folder)


def test_a_folder_with_an_incomplete_checkpoint_gets_what_it_lacks(tmp_path, monkeypatch, run):
    whole = tmp_path / "whole"
    write_checkpoint(whole, sizes.in_memory("nano"), sizes.documents("nano"))
    vocoder = Path(shutil.move(whole / "bigvgan_v2_22khz_80band_256x", tmp_path / "vocoder"))
    with standin_hub({PARTS["bigvgan_v2_22khz_80band_256x"]: vocoder}) as hub:
        use_cache(monkeypatch, hub, tmp_path / "cache")
        chosen = loaders(Config.of(indextts=str(whole), default_engine="indextts"))
        with pytest.raises(CheckpointError, match=r"indextts: nvidia/bigvgan.* is not in the cache"):
            fetched(run, chosen, offline=True)
        assert fetched(run, chosen).spec.source == str(whole)
    assert read_checkpoint(whole).config.vocoder == sizes.in_memory("nano").config.vocoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"voxcpm": "/nowhere/VoxCPM1.5"},
            r"voxcpm: there is no folder /nowhere/VoxCPM1\.5; did you mean 'openbmb/VoxCPM1\.5'",
        ),
        ({"voxcpm": "./models"}, r"voxcpm: there is no folder \./models\. It takes a folder, or a repository"),
        (
            {"indextts": "~/IndexTTS-2"},
            r"indextts: there is no folder ~/IndexTTS-2; did you mean 'IndexTeam/IndexTTS-2",
        ),
    ],
)
def test_a_missing_folder_is_told_before_anything_loads(settings, message):
    with pytest.raises(CheckpointError, match=message):
        loaders(Config.of(**settings))


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "there is no folder .*; did you mean"), ("empty", r"found no config\.yaml")],
)
def test_a_folder_that_is_no_indextts_is_told_before_its_parts_are_downloaded(
    tmp_path, monkeypatch, run, name, message
):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with standin_hub({}) as hub:
        use_cache(monkeypatch, hub, tmp_path / "cache")
        chosen = loaders(Config.of(indextts=name or "IndexTTS2.5", default_engine="indextts"))
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(Path(fetched(run, chosen).spec.source))
        assert not hub.requests


def use_cache(monkeypatch: pytest.MonkeyPatch, hub: StandInHub, folder: Path) -> None:
    """Download from the stand-in to a cache of its own, in this process."""
    monkeypatch.setattr(hub_module, "endpoint", lambda: hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.mark.slow
def test_a_server_speaks_from_a_repository(tmp_path, monkeypatch, require):
    require("nano", bundled_voice.has_phonemizer(), "the packaged voice's phonemizer is not installed")
    with standin_hub({"openbmb/VoxCPM1.5": bundled_voice.FOLDER}) as hub:
        environment(monkeypatch, hub, tmp_path / "home")
        flags = ("--voxcpm", "openbmb/VoxCPM1.5", "--no-fillers")
        for more in ((), ("--hub-offline",)):
            with serving(tmp_path, *flags, *more) as address, SpeechClient(address) as client:
                speech = client.say("Hello there.", engine="voxcpm")
                assert len(speech.pcm) > 4800
            (tmp_path / "port").unlink(missing_ok=True)
        assert hub.downloads("model.safetensors") == 1
    assert "downloading openbmb/VoxCPM1.5" not in (tmp_path / "server.log").read_text("utf8")
