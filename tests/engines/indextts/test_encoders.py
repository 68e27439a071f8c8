"""Encoders kept in memory or dropped: equal voices, less memory, and changed files."""

import base64
import gc
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intone.server.config import Config
from intone.server.domain import Emotion, PreparedVoice, SpeakRequest
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.voice.conditioning import Conditioners
from intone.server.engines.pieces import complete
from intone.server.engines.weights import declared_shapes
from intone.server.errors import CallerError, CheckpointError, EngineError
from intone.server.runtime.loading import loaders
from tests.support.indextts_files import write_checkpoint
from tests.support.indextts_units import FAST, emotion_of, recording, sound_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("indextts")
    checkpoint = sizes.in_memory("nano", seed=3)
    write_checkpoint(place, checkpoint, sizes.documents("nano"))
    ranks = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (place / checkpoint.config.tokenizer_file).write_text(ranks, "ascii")
    return place


def assert_same(ours: PreparedVoice, theirs: PreparedVoice) -> None:
    assert ours.arrays.keys() == theirs.arrays.keys() and ours.fingerprint == theirs.fingerprint
    for name, array in ours.arrays.items():
        assert np.array_equal(array, theirs.arrays[name]), name


def live_bytes() -> int:
    """Bytes of all live tensors, each storage once."""
    gc.collect()
    storages = [held.untyped_storage() for held in gc.get_objects() if issubclass(type(held), torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def mapped(folder: Path) -> set[str]:
    """Files of a folder that are mapped by this process."""
    gc.collect()
    lines = Path("/proc/self/maps").read_text("utf8").splitlines()
    return {Path(line.split()[-1]).name for line in lines if str(folder) in line}


def encoder_bytes(size: str) -> int:
    config = sizes.in_memory(size).config
    parts = part_shapes(config)
    encoders = (declared_shapes(partial(Conditioners, config)), parts["w2v_bert"], parts["campplus"])
    return sum(4 * int(np.prod(shape)) for shapes in encoders for shape in shapes.values())


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_a_voice_is_the_same_after_dropping(size: str) -> None:
    kept, dropping = IndexTTSEngine.random(size), IndexTTSEngine.random(size, drop_encoders=True)
    assert kept._encoder.loaded and not dropping._encoder.loaded
    for seed in (1, 2):
        assert_same(
            complete(dropping.prepare_voice(recording(seed=seed))), complete(kept.prepare_voice(recording(seed=seed)))
        )
        assert kept._encoder.loaded and not dropping._encoder.loaded


def test_dropped_encoders_are_read_from_the_folder(folder: Path) -> None:
    kept, dropping = IndexTTSEngine.from_folder(folder), IndexTTSEngine.from_folder(folder, drop_encoders=True)
    assert_same(complete(dropping.prepare_voice(recording())), complete(kept.prepare_voice(recording())))


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_dropping_frees_tensors(size: str) -> None:
    IndexTTSEngine.random(size)  # caches that persist
    before = live_bytes()
    kept = IndexTTSEngine.random(size)
    of_kept = live_bytes() - before
    del kept
    assert live_bytes() == before
    dropping = IndexTTSEngine.random(size, drop_encoders=True)
    of_dropping = live_bytes() - before
    expected = encoder_bytes(size)
    assert 0.95 * expected <= of_kept - of_dropping <= 1.1 * expected
    complete(dropping.prepare_voice(recording()))
    assert live_bytes() - before == of_dropping


def test_dropping_unmaps_files(folder: Path, require: Callable[..., Any]) -> None:
    """Mapped pages count as resident; gpt.pth is unmapped too, as its blocks are packed elsewhere."""
    require("proc", Path("/proc/self/maps").exists(), "no /proc/self/maps")
    gone = {"gpt.pth", "model.safetensors", "campplus_cn_common.bin"}
    kept = IndexTTSEngine.from_folder(folder)
    assert gone <= mapped(folder)
    del kept
    assert not mapped(folder)
    dropping = IndexTTSEngine.from_folder(folder, drop_encoders=True)
    left = mapped(folder)
    assert left and not gone & left
    complete(dropping.prepare_voice(recording()))
    assert mapped(folder) == left


def test_a_clip_is_encoded_after_dropping() -> None:
    kept, dropping = IndexTTSEngine.random("nano"), IndexTTSEngine.random("nano", drop_encoders=True)
    emotion = Emotion(clip=sound_file(recording(1.0, seed=9)), intensity=1.0)
    rows = []
    for engine in (kept, dropping):
        voice = complete(engine.prepare_voice(recording()))
        state = engine.start(SpeakRequest("Hm", seed=1, voice=voice, emotion=emotion, options=FAST))
        rows.append(emotion_of(engine, state))
    assert torch.equal(*rows) and not dropping._encoder.loaded


def test_a_refused_recording_drops_them_too() -> None:
    engine = IndexTTSEngine.random("nano", drop_encoders=True)
    with pytest.raises(CallerError):
        complete(engine.prepare_voice(recording(0.1)))
    assert not engine._encoder.loaded


def test_changed_files_are_refused(folder: Path, tmp_path: Path) -> None:
    """A voice from other weights would not fit the model in memory."""
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    engine = IndexTTSEngine.from_folder(place, drop_encoders=True)
    write_checkpoint(place, sizes.in_memory("nano", seed=4), sizes.documents("nano"))
    with pytest.raises(EngineError, match="have changed since they were loaded: restart the server"):
        complete(engine.prepare_voice(recording()))
    shutil.rmtree(place)
    with pytest.raises(CheckpointError, match="config.yaml"):
        complete(engine.prepare_voice(recording()))
    assert not engine._encoder.loaded


def test_the_setting_reaches_the_engine() -> None:
    for drop in (False, True):
        config = Config.of(indextts="nano", random_weights=True, starter=False, drop_encoders=drop)
        engine = loaders(config)["indextts"]()
        assert isinstance(engine, IndexTTSEngine) and engine._encoder.loaded is not drop
