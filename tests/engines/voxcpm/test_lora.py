"""LoRA fine-tunings of VoxCPM, merged while loading."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.weights import read_checkpoint
from intone.server.errors import CheckpointError
from tests.oracles import voxcpm_oracle as oracle
from tests.support.voxcpm_tiny import random_checkpoint


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint("nano", tmp_path_factory.mktemp("checkpoint") / "nano", seed=3)


def write_lora(folder: Path, targets: list[str], published: Path, rank: int = 4) -> dict[str, Tensor]:
    weights = load_file(published / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    update = {}
    for target in targets:
        rows, columns = weights[f"{target}.weight"].shape
        update[f"{target}.lora_A"] = 0.1 * torch.randn(rank, columns, generator=generator)
        update[f"{target}.lora_B"] = 0.1 * torch.randn(rows, rank, generator=generator)
    folder.mkdir()
    save_file(update, folder / "lora_weights.safetensors")
    (folder / "lora_config.json").write_text(json.dumps({"lora_config": {"r": rank, "alpha": 12}}))
    return update


TARGETS = ["base_lm.layers.1.self_attn.q_proj", "feat_decoder.estimator.decoder.layers.0.self_attn.o_proj"]


def test_lora_is_merged_with_its_scaling(published: Path, tmp_path: Path) -> None:
    update = write_lora(tmp_path / "lora", TARGETS, published)
    plain, merged = read_checkpoint(published), read_checkpoint(published, tmp_path / "lora")
    for name, weight in merged.model.items():
        target = name.removesuffix(".weight")
        if target in TARGETS:
            expected = plain.model[name] + 12 / 4 * update[f"{target}.lora_B"] @ update[f"{target}.lora_A"]
            assert (weight - expected).abs().max() < 1e-6
        else:
            assert torch.equal(weight, plain.model[name])
    assert merged.fingerprint != plain.fingerprint
    assert VoxCPMEngine.from_folder(published, lora=tmp_path / "lora").info.model == "nano, random weights with lora"


def test_lora_equals_the_official_layer(require: Callable[..., Any], published: Path, tmp_path: Path) -> None:
    require("oracle", oracle.installed(), "no official package: pip install --no-deps -r tests/oracles/voxcpm.txt")
    update = write_lora(tmp_path / "lora", TARGETS[:1], published)
    merged = read_checkpoint(published, tmp_path / "lora").model[f"{TARGETS[0]}.weight"]
    plain = read_checkpoint(published).model[f"{TARGETS[0]}.weight"]
    with oracle.official() as package, torch.inference_mode():
        linear = torch.nn.Linear(plain.shape[1], plain.shape[0], bias=False)
        linear.weight = torch.nn.Parameter(plain, requires_grad=False)
        layer = package.lora.LoRALinear(linear, r=4, alpha=12)
        layer.load_state_dict({"weight": plain} | {k.rpartition(".")[2]: v for k, v in update.items()})
        x = torch.randn(6, plain.shape[1], generator=torch.Generator().manual_seed(1))
        assert ((x @ merged.T) - layer(x)).abs().max() < 1e-5


def test_lora_of_older_format_and_without_config(published: Path, tmp_path: Path) -> None:
    update = write_lora(tmp_path / "lora", TARGETS, published)
    (tmp_path / "lora" / "lora_weights.safetensors").unlink()
    (tmp_path / "lora" / "lora_config.json").unlink()
    torch.save({"state_dict": update}, tmp_path / "lora" / "lora_weights.ckpt")
    name = f"{TARGETS[0]}.weight"
    change = read_checkpoint(published, tmp_path / "lora").model[name] - read_checkpoint(published).model[name]
    expected = 16 / 4 * update[f"{TARGETS[0]}.lora_B"] @ update[f"{TARGETS[0]}.lora_A"]
    assert (change - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        (
            "base_lm.layers.9.self_attn.q_proj.lora_A",
            (4, 256),
            "base_lm.layers.9.self_attn.q_proj.lora_B: expected a matrix",
        ),
        ("somewhere.lora_A somewhere.lora_B", (4, 4), "the model has no somewhere.weight"),
        ("stop_proj.weight", (4, 256), "expected names that end in .lora_A or .lora_B"),
        (
            "stop_proj.lora_A stop_proj.lora_B",
            (4, 256),
            "found lora_A [4, 256] and lora_B [4, 256], expected [4, 256] and [256, 4]",
        ),
    ],
)
def test_lora_that_does_not_match_is_refused(
    published: Path, tmp_path: Path, key: str, shape: tuple[int, int], expected: str
) -> None:
    write_lora(tmp_path / "lora", [], published)
    save_file({name: torch.zeros(shape) for name in key.split()}, tmp_path / "lora" / "lora_weights.safetensors")
    with pytest.raises(CheckpointError) as caught:
        VoxCPMEngine.from_folder(published, lora=tmp_path / "lora")
    assert expected in str(caught.value)
