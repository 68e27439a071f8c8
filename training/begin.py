"""Starts new training runs from an exported checkpoint, for when the original run files are not available.

State that is not exported is reinitialized: the discriminators, the linear probes, and the optimizers. The step
count, and with it the learning rate schedule, starts from 0. A checkpoint with fewer latents is extended.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intone.server.engines.voxcpm.weights import read_checkpoint
from intone.server.nn.causal_conv import fold_weight_norm
from training import model_sizes, source
from training.latents import BASIS_FILE
from training.loop import CHECKPOINT
from training.model import VoxCPM
from training.objective import Lesson
from training.shards import LABEL_SAMPLES, UNIT_SAMPLES
from training.vae import AudioVAE


def run(out: Path, size: str, folder: Path) -> None:
    """Write the checkpoints of both runs and the basis of the latents to `out`, from the checkpoint in `folder`.

    Raises:
        CheckpointError: `folder` is not a valid checkpoint.
        ValueError: the checkpoint has another size, or `out` already has runs or another basis.
        FileNotFoundError: `folder` has no basis.
    """
    config = model_sizes.config_of(size)
    checkpoint = read_checkpoint(folder)
    lesson = Lesson(VoxCPM(config), UNIT_SAMPLES // LABEL_SAMPLES)
    vae = AudioVAE(config.vae)
    source.lay(vae)
    stretched = at_rates(checkpoint.vae, checkpoint.config.vae.decoder_rates, config.vae.decoder_rates)
    latents = checkpoint.config.latent_dim, config.latent_dim
    for name, module, given in (("language models", lesson.model, checkpoint.model), ("VAE", vae, stretched)):
        tensors = with_more_latents(given, module.state_dict(), *latents)
        expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
        if {key: tensor.shape for key, tensor in tensors.items()} != expected:
            raise ValueError(f"{folder}: the {name} are not of size {size}")
        module.load_state_dict(tensors)
    if not (folder / BASIS_FILE).is_file():
        raise FileNotFoundError(f"{folder}: no {BASIS_FILE}, without which its latents cannot be interpreted")
    known = out / BASIS_FILE
    if known.exists() and known.read_bytes() != (folder / BASIS_FILE).read_bytes():
        raise ValueError(f"{known} differs from that of {folder}, so its latents are other ones: choose another --out")
    for name in ("lm", "vae"):
        if (out / name / CHECKPOINT).exists():
            raise ValueError(f"{out / name} has a run already: remove it or choose another --out")
    _save(out / "lm", lesson, "lesson")
    _save(out / "vae", vae, "vae")
    shutil.copy(folder / BASIS_FILE, out / BASIS_FILE)


def at_rates(tensors: Mapping[str, Tensor], before: Sequence[int], after: Sequence[int]) -> dict[str, Tensor]:
    """Adapt VAE weights to another upsampling factor of the decoder's last block, by resampling kernels over time.

    The result is only an initialization for training. If any other factor differs, the weights are returned unchanged.
    """
    result = dict(tensors)
    if tuple(before[:-1]) != tuple(after[:-1]) or before[-1] == after[-1]:
        return result
    old, new, last = before[-1], after[-1], len(before) + 1
    up = f"decoder.model.{last}.block.1"
    weight = _folded(tensors, up)
    places = (torch.arange(2 * new) + 0.5) * old / new - 0.5
    _unfold(result, up, _at(weight, places))
    depthwise = [f"decoder.model.{last}.block.{unit}.block.1" for unit in (2, 3, 4)]
    for name in (*depthwise, f"decoder.model.{last + 2}"):
        weight = _folded(tensors, name)
        taps = weight.shape[2]
        places = taps - 1 - torch.arange(taps - 1, -1, -1) * old / new
        _unfold(result, name, _at(weight, places) * old / new)
    return result


def with_more_latents(
    tensors: Mapping[str, Tensor], initial: Mapping[str, Tensor], known: int, wanted: int
) -> dict[str, Tensor]:
    """Extend weights from `known` to `wanted` latents; the added rows and columns are those of the weights `initial`.

    They are not zero, because columns of the decoder that began at zero hardly grew in 1,500 steps. Tensors that differ
    in anything else are returned unchanged.
    """
    result = dict(tensors)
    for name in initial.keys() & tensors.keys():
        layer = name.removesuffix(".weight_v")
        if not name.endswith((".weight_g", ".weight_v")):
            result[name] = _extended(tensors[name], initial[name], known, wanted)
        elif layer != name:
            weight = _folded(tensors, layer)
            extended = _extended(weight, _folded(initial, layer), known, wanted)
            if extended is not weight:
                _unfold(result, layer, extended)
    return result


def _extended(old: Tensor, new: Tensor, known: int, wanted: int) -> Tensor:
    """`new` with its first rows and columns replaced by `old`, if they differ only in the number of latents."""
    sizes = tuple(wanted if size == known else size for size in old.shape)
    if old.shape == new.shape or sizes != new.shape:
        return old
    result = new.to(old.dtype, copy=True)
    result[tuple(slice(size) for size in old.shape)] = old
    return result


def _at(curve: Tensor, places: Tensor) -> Tensor:
    """Interpolate `[..., n]` linearly at fractional indices; indices outside are clamped."""
    places = places.clamp(0, curve.shape[-1] - 1)
    low = places.floor().long().clamp_max(curve.shape[-1] - 2) if curve.shape[-1] > 1 else places.long()
    part = places - low
    return torch.lerp(curve[..., low], curve[..., (low + 1).clamp_max(curve.shape[-1] - 1)], part)


def _folded(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    return fold_weight_norm(tensors[f"{name}.weight_g"].float(), tensors[f"{name}.weight_v"].float())


def _unfold(tensors: dict[str, Tensor], name: str, weight: Tensor) -> None:
    tensors[f"{name}.weight_v"] = weight
    tensors[f"{name}.weight_g"] = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)


def _save(folder: Path, module: nn.Module, name: str) -> None:
    weights = module.state_dict()
    state: dict[str, Any] = {"steps": 0, "trainee": {name: weights, "average": weights}}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / CHECKPOINT)
