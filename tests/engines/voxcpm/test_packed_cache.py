"""The cache of packed weights: audio is bit-identical, and invalid files are replaced."""

import dataclasses
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.command_line import load
from intone.server.config import Config
from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines import packed_cache
from intone.server.engines.packed_cache import PackedCache
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.config import ENGINE
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.weights import read_checkpoint
from intone.server.runtime import loading
from tests.support.voxcpm_tiny import finish, joined, random_checkpoint, recording

REQUEST = SpeakRequest("Hello there", seed=1, options=SynthesisOptions(parameters={"steps": 3, "max_audio_ms": 480}))
PACKED, LOADED = "packed the weights in", "loaded packed weights from"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored in bfloat16, like the published ones."""
    return random_checkpoint("nano", tmp_path_factory.mktemp("checkpoint") / "nano", 3, torch.bfloat16)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A checkpoint to modify."""
    return Path(shutil.copytree(published, tmp_path / "model"))


@pytest.fixture
def cache_folder(tmp_path: Path) -> Path:
    """The cache folder, which does not exist yet."""
    return tmp_path / "some" / "cache"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """`log()`: what was logged since the last call."""
    caplog.set_level(logging.INFO)

    def since() -> str:
        text = caplog.text
        caplog.clear()
        return text

    return since


def loaded(folder: Path, **settings: Any) -> VoxCPMEngine:
    """A new engine, once its packed weights are saved."""
    engine = VoxCPMEngine.from_folder(folder, **settings)
    packed_cache.finish_writing()
    return engine


def spoken(folder: Path, cache_folder: Path | None, dtype: str = "int8", lora: Path | None = None) -> bytes:
    """Audio of a newly loaded engine, with and without a cloned voice."""
    engine = loaded(folder, dtype=dtype, pack_cache=cache_folder, lora=lora)
    voice = complete(engine.prepare_voice(recording(engine, 1.0)))
    said = (joined(finish(engine, engine.start(dataclasses.replace(REQUEST, voice=v)))) for v in (None, voice))
    return b"".join(audio.tobytes() for audio in said)


def files(cache_folder: Path) -> list[Path]:
    return sorted(cache_folder.iterdir())


@pytest.mark.parametrize("dtype", ["int8", "bf16", "fp32"])
def test_audio_from_cached_weights_is_bit_identical(
    published: Path, cache_folder: Path, log: Callable[[], str], dtype: str
) -> None:
    expected = spoken(published, None, dtype)
    assert PACKED in log()
    assert spoken(published, cache_folder, dtype) == expected
    first = log()
    assert PACKED in first and str(cache_folder) in first and LOADED not in first
    assert spoken(published, cache_folder, dtype) == expected
    second = log()
    assert LOADED in second and PACKED not in second and len(files(cache_folder)) == 1


def test_packing_from_bfloat16_and_float32_is_identical(published: Path, folder: Path, tmp_path: Path) -> None:
    """bfloat16 is packed without a copy in float32, with the same result."""
    path = folder / "model.safetensors"
    wide = {name: tensor.float() for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(wide, path)
    assert spoken(folder, tmp_path / "wide") == spoken(published, tmp_path / "narrow")


def test_every_precision_has_its_own_file(published: Path, cache_folder: Path, log: Callable[[], str]) -> None:
    for dtype in ("int8", "bf16", "int8", "bf16"):
        loaded(published, dtype=dtype, pack_cache=cache_folder)
    assert (text := log()).count(PACKED) == text.count(LOADED) == len(files(cache_folder)) == 2


def test_a_changed_checkpoint_is_packed_again_and_the_old_file_removed(
    folder: Path, cache_folder: Path, log: Callable[[], str]
) -> None:
    before = spoken(folder, cache_folder)
    old = files(cache_folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["stop_proj.weight"] = -tensors["stop_proj.weight"]
    tensors["base_lm.layers.0.mlp.down_proj.weight"] = -tensors["base_lm.layers.0.mlp.down_proj.weight"]
    path.unlink()
    save_file(tensors, path)
    log()
    after = spoken(folder, cache_folder)
    assert PACKED in log() and after == spoken(folder, None) != before
    assert len(files(cache_folder)) == 1 and files(cache_folder) != old


def test_a_touched_file_counts_as_changed(folder: Path, cache_folder: Path, log: Callable[[], str]) -> None:
    """Contents are only sampled: the modification time reveals other changes."""
    for name in ("model.safetensors", "audiovae.pth", "config.json"):
        spoken(folder, cache_folder)
        log()
        stat = (folder / name).stat()
        os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        spoken(folder, cache_folder)
        assert PACKED in log(), name
    assert len(files(cache_folder)) == 1


def test_a_fine_tuning_has_its_own_file(
    published: Path, cache_folder: Path, tmp_path: Path, log: Callable[[], str]
) -> None:
    target = "base_lm.layers.0.self_attn.q_proj"
    rows, columns = load_file(published / "model.safetensors")[f"{target}.weight"].shape
    lora = tmp_path / "lora"
    lora.mkdir()
    halves = {f"{target}.lora_A": torch.ones(2, columns), f"{target}.lora_B": torch.ones(rows, 2)}
    save_file(halves, lora / "lora_weights.safetensors")
    plain, tuned = spoken(published, cache_folder), spoken(published, cache_folder, lora=lora)
    assert log().count(PACKED) == 2 and plain != tuned
    assert (spoken(published, cache_folder), spoken(published, cache_folder, lora=lora)) == (plain, tuned)
    assert log().count(LOADED) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    """As a power cut can leave it, with the right length."""
    path.write_bytes(bytes(path.stat().st_size))


def blank_weights(path: Path) -> None:
    whole = path.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole[:head] + bytes(len(whole) - head))


def foreign(path: Path) -> None:
    path.unlink()
    save_file({"vae.encoder.0.sizes": torch.zeros(8, dtype=torch.int64)}, path)


def renamed(path: Path) -> None:
    """Valid, but for another key."""
    with safe_open(path, framework="pt") as file:
        written = file.metadata()
    tensors = load_file(path)
    path.unlink()
    save_file(tensors, path, {**written, "key": "0" * 32})


def flipped_bit(path: Path) -> None:
    """Somewhere in the weights, as a failing disk leaves it."""
    whole = bytearray(path.read_bytes())
    whole[-len(whole) // 3] ^= 1
    path.write_bytes(whole)


def writable_by_others(path: Path) -> None:
    path.chmod(0o666)


def of_another_user(path: Path) -> None:
    os.chown(path, 4321, -1)


def linked(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def a_pipe(path: Path) -> None:
    """Opening one must not wait for somebody who writes to it."""
    path.unlink()
    os.mkfifo(path)


NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SPOILS = [cut, empty, blank, blank_weights, foreign, renamed, flipped_bit, writable_by_others, linked, a_pipe]


@pytest.mark.parametrize("spoil", [*SPOILS, pytest.param(of_another_user, marks=NOT_ROOT)])
def test_a_corrupt_or_foreign_file_is_replaced(
    published: Path, cache_folder: Path, log: Callable[[], str], spoil: Callable[[Path], None]
) -> None:
    expected = spoken(published, cache_folder)
    spoil(files(cache_folder)[0])
    log()
    assert spoken(published, cache_folder) == expected
    text = log()
    assert "packing again" in text and PACKED in text
    assert spoken(published, cache_folder) == expected and LOADED in log()


def test_other_users_can_neither_list_nor_read_the_cache(published: Path, cache_folder: Path) -> None:
    spoken(published, cache_folder)
    assert cache_folder.stat().st_mode & 0o777 == 0o700
    assert files(cache_folder)[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("residual_lm.layers.1.down.scales", None),
        ("vae.decoder.2.sizes", None),
        ("base_lm.layers.1.qkv.weights", lambda tensor: tensor[1:].clone()),
        ("base_lm.layers.1.qkv.sizes", lambda tensor: -tensor),
        ("vae.encoder.1.panels", lambda tensor: tensor.int()),
        ("vae.decoder.1.sizes", torch.zeros_like),
    ],
)
def test_a_valid_file_of_another_model_is_replaced(
    published: Path, cache_folder: Path, log: Callable[[], str], name: str, change: Callable[[Tensor], Tensor] | None
) -> None:
    expected = spoken(published, cache_folder)
    checkpoint = read_checkpoint(published)
    cache = PackedCache.of(cache_folder, ENGINE, checkpoint.files, checkpoint.fingerprint, "int8")
    assert cache is not None
    tensors = cache.read()
    assert tensors is not None
    taken = tensors.pop(name)
    cache.write(tensors if change is None else {**tensors, name: change(taken)})
    log()
    assert spoken(published, cache_folder) == expected
    text = log()
    assert "does not match the model" in text and PACKED in text


def test_a_folder_that_cannot_be_written_is_a_warning(published: Path, tmp_path: Path, log: Callable[[], str]) -> None:
    """The folder's parent is a file; permissions would not stop root."""
    (tmp_path / "file").write_text("")
    assert spoken(published, tmp_path / "file" / "cache") == spoken(published, None)
    assert "cannot save packed weights" in log()


def test_no_file_is_left_when_writing_fails(
    published: Path, cache_folder: Path, log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(packed_cache.os, "fsync", full)
        spoken(published, cache_folder)
    assert "No space left" in log() and files(cache_folder) == []


LOAD = """
import sys
from pathlib import Path
from intone.server.engines.voxcpm.engine import VoxCPMEngine
VoxCPMEngine.from_folder(Path(sys.argv[1]), dtype="int8", threads=1, pack_cache=Path(sys.argv[2]))
"""


def test_two_servers_may_start_at_once(published: Path, cache_folder: Path, log: Callable[[], str]) -> None:
    servers = [subprocess.Popen([sys.executable, "-c", LOAD, str(published), str(cache_folder)]) for _ in range(2)]
    assert [server.wait(120) for server in servers] == [0, 0]
    assert [path.suffix for path in files(cache_folder)] == [".safetensors"]
    assert spoken(published, cache_folder) == spoken(published, None)
    assert LOADED in log()


def test_only_abandoned_unfinished_files_are_removed(folder: Path, cache_folder: Path) -> None:
    spoken(folder, cache_folder)
    place = files(cache_folder)[0].name.split("-")[0]
    writing, abandoned, other = (
        cache_folder / name for name in (f"{place}-a.part", f"{place}-b.part", "other.safetensors")
    )
    for path in (writing, abandoned, other):
        path.write_text("")
    os.utime(abandoned, (0, 0))
    (folder / "config.json").touch()
    spoken(folder, cache_folder)
    assert writing.exists() and other.exists() and not abandoned.exists()


def test_models_made_in_memory_have_no_cache(tmp_path: Path) -> None:
    checkpoint = sizes.in_memory("nano")
    assert PackedCache.of(tmp_path, ENGINE, checkpoint.files, checkpoint.fingerprint, "int8") is None


def test_progress_reaches_one(published: Path, cache_folder: Path) -> None:
    for _ in range(2):
        reported: list[float] = []
        loaded(published, dtype="int8", pack_cache=cache_folder, progress=reported.append)
        assert reported == sorted(reported) and reported[-1] == 1.0


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("INTONE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert load([]).pack_cache_folder() == tmp_path / ".cache" / "intone" / "packed"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert load([]).pack_cache_folder() == tmp_path / ".cache" / "intone" / "packed"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert load([]).pack_cache_folder() == tmp_path / "own" / "intone" / "packed"
    monkeypatch.setenv("INTONE_CACHE", str(tmp_path / "there"))
    assert load([]).pack_cache_folder() == tmp_path / "there"
    assert load(["--pack-cache", "~/here"]).pack_cache_folder() == tmp_path / "here"
    assert load(["--pack-cache", "off"]).pack_cache_folder() is None
    monkeypatch.setenv("INTONE_CACHE", "off")
    assert load([]).pack_cache_folder() is None
    monkeypatch.setenv("INTONE_CACHE", "")
    monkeypatch.setattr("sys.platform", "darwin")
    assert load([]).pack_cache_folder() == tmp_path / "Library" / "Caches" / "intone" / "packed"


def test_the_server_uses_the_cache(published: Path, cache_folder: Path, log: Callable[[], str]) -> None:
    config = Config.of(voxcpm=str(published), starter=False, dtype="int8", threads=1, pack_cache=str(cache_folder))
    for _ in range(2):
        loading.loaders(config)["voxcpm"]()
        packed_cache.finish_writing()
    assert (text := log()).count(PACKED) == text.count(LOADED) == 1
