"""A VoxCPM checkpoint on disk: its files and tensors."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from intone.server.engines.voxcpm import audio_vae
from intone.server.engines.voxcpm.config import ENGINE, VoxCPMConfig
from intone.server.engines.voxcpm.lm import LanguageModels
from intone.server.engines.voxcpm.local_dit import LocalDiT
from intone.server.engines.voxcpm.local_encoder import LocalEncoder
from intone.server.engines.voxcpm.lora import merge_lora
from intone.server.engines.weights import Shapes, check_tensors, declared_shapes, find_file, fingerprint, read_tensors

MODEL_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth")
VAE_FILES = ("audiovae.safetensors", "audiovae.pth")
CONFIG_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All tensors of a model, with names and shapes checked.

    Attributes:
        model: of language models, LocEnc and LocDiT, by published name.
        vae: of the audio VAE, by published name.
        fingerprint: of the weights.
        mapped: whether tensors are views of mapped files.
        files: the files it was read from; empty for one made in memory.
    """

    config: VoxCPMConfig
    model: dict[str, Tensor]
    vae: dict[str, Tensor]
    fingerprint: str
    mapped: bool = False
    files: tuple[Path, ...] = ()


def tensor_shapes(config: VoxCPMConfig) -> Shapes:
    """Every tensor of the model's file, which the VAE is not in: published name → shape."""
    parts = (LanguageModels, LocalEncoder, LocalDiT)
    return declared_shapes(lambda weights: [part(config, weights) for part in parts])


def read_checkpoint(folder: Path, lora: Path | None = None) -> Checkpoint:
    """Read and check a folder in the published layout, with a LoRA folder merged into it.

    Raises:
        CheckpointError: a file is missing or unreadable, or a key is missing, unexpected or of the wrong shape.
    """
    config_path = find_file(folder, (CONFIG_FILE,), ENGINE)
    config = VoxCPMConfig.load(config_path)
    model_path, vae_path = find_file(folder, MODEL_FILES, ENGINE), find_file(folder, VAE_FILES, ENGINE)
    model, vae = read_tensors(model_path, ENGINE), read_tensors(vae_path, ENGINE)
    check_tensors(model, tensor_shapes(config), model_path, ENGINE)
    check_tensors(vae, audio_vae.tensor_shapes(config.vae), vae_path, ENGINE)
    files = [config_path, model_path, vae_path]
    if lora is not None:
        model = merge_lora(model, lora)
        files += sorted(path for path in lora.iterdir() if path.is_file())
    return Checkpoint(config, model, vae, fingerprint(files), mapped=lora is None, files=tuple(files))
