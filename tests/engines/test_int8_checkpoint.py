"""Checkpoints that keep their tensors in fewer bytes: read as what they stand for, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.int8_checkpoint import dequantized
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.weights import read_tensors
from intone.server.errors import CheckpointError
from tests.support.trained_voice import write_voice
from training.storage import KINDS, packed

MODEL, VAE = "model.safetensors", "audiovae.safetensors"
PATH = Path("x.safetensors")


def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {"matrix": (80, 90), "kernel": (64, 3, 40), "rows": (1, 5000), "vector": (90,), "small": (4, 4)}
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    found["matrix"][3] = 0  # a row of zeros also has a scale
    return found


@pytest.mark.parametrize(("kind", "error"), [("float32", 0), ("float16", 5e-4), ("int8", 4e-3)])
def test_round_trip(kind, error, tmp_path):
    written = tensors()
    save_file(packed(written, kind), tmp_path / MODEL)
    read = read_tensors(tmp_path / MODEL, "voxcpm")
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].shape == tensor.shape and read[name].is_floating_point()
        assert float((read[name].float() - tensor).abs().max()) <= error * float(tensor.abs().max())


def test_each_index_of_the_first_dimension_has_its_scale():
    packed_ones = torch.ones(2, 3, 2, dtype=torch.int8)
    scale = torch.tensor([0.5, -4.0])
    read = dequantized({"x": packed_ones, "x_scale": scale, "bias": torch.ones(2).half()}, PATH, "voxcpm")
    assert read.keys() == {"x", "bias"} and read["x"].dtype == torch.float32 and read["bias"].dtype == torch.float16
    assert torch.equal(read["x"], scale.view(2, 1, 1).expand(2, 3, 2))
    vector = dequantized({"v": torch.tensor([2, 3], dtype=torch.int8), "v_scale": scale}, PATH, "voxcpm")
    assert vector["v"].tolist() == [1.0, -12.0]


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (None, "x: found int8, expected a scale x_scale"),
        (torch.ones(3), r"x_scale: found float32 \[3\], expected float32 \[2\]"),
        (torch.ones(2, 1), r"x_scale: found float32 \[2, 1\], expected float32 \[2\]"),
        (torch.tensor(1.0), r"x_scale: found float32 \[\], expected"),
        (torch.ones(2).half(), r"x_scale: found float16 \[2\], expected float32 \[2\]"),
        (torch.ones(2, dtype=torch.int8), r"x_scale: found int8 \[2\], expected float32 \[2\]"),
        (torch.tensor([1.0, float("nan")]), "x_scale: found a number that is not finite"),
        (torch.tensor([float("inf"), 1.0]), "x_scale: found a number that is not finite"),
    ],
)
def test_invalid_scales_are_refused(scale, words, tmp_path):
    content = {"x": torch.ones(2, 4, dtype=torch.int8), **({} if scale is None else {"x_scale": scale})}
    save_file(content, tmp_path / MODEL)
    with pytest.raises(CheckpointError, match=rf"{MODEL}: {words}"):
        read_tensors(tmp_path / MODEL, "voxcpm")


def test_a_scalar_is_refused():
    with pytest.raises(CheckpointError, match="x_scale: found float32"):
        dequantized({"x": torch.tensor(3, dtype=torch.int8), "x_scale": torch.tensor(1.0)}, PATH, "voxcpm")


def test_a_scale_without_an_int8_tensor_is_refused(tmp_path):
    folder = write_voice(tmp_path / "voice")
    whole = load_file(folder / MODEL)
    for name in ("surplus_scale", "lm_to_dit_proj.bias_scale"):  # without a tensor, and with one that is not int8
        save_file({**whole, name: torch.ones(4)}, folder / MODEL)
        with pytest.raises(CheckpointError, match=rf"{name}: found \[4\], expected nothing"):
            VoxCPMEngine.from_folder(folder, threads=1)


def spoken(folder, dtype="auto"):
    engine = VoxCPMEngine.from_folder(folder, threads=1, dtype=dtype)
    unit = engine.start(
        SpeakRequest("He came.", seed=1, options=SynthesisOptions(parameters={"steps": 2, "max_audio_ms": 480}))
    )
    parts = []
    while not unit.done:
        parts += [step.pcm for step in engine.step([unit]) if step.pcm is not None]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The nano voice in every storage type."""
    folder = tmp_path_factory.mktemp("stored")
    return {kind: write_voice(folder / kind, kind, "nano") for kind in KINDS}


@pytest.mark.parametrize(("kind", "dtype"), [("int8", "auto"), ("int8", "int8"), ("float16", "auto")])
def test_a_quantized_checkpoint_speaks_like_its_dequantized_one(stored, tmp_path, kind, dtype):
    """Bit-identical to a checkpoint with the dequantized tensors."""
    for path in stored[kind].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name in (MODEL, VAE):
        whole = {key: tensor.float() for key, tensor in read_tensors(stored[kind] / name, "voxcpm").items()}
        save_file(whole, tmp_path / name)
    audio = spoken(stored[kind], dtype)
    assert np.array_equal(audio, spoken(tmp_path, dtype)) and np.abs(audio).max() > 1e-3
    assert not np.array_equal(audio, spoken(stored["float32"], dtype))


def test_sizes_on_disk(stored):
    sizes = {kind: sum(path.stat().st_size for path in folder.iterdir()) for kind, folder in stored.items()}
    assert sizes["float16"] < 0.51 * sizes["float32"] and sizes["int8"] < 0.27 * sizes["float32"]
    assert sizes["int8"] <= 20e6
