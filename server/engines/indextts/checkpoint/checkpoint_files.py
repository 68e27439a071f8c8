"""Finds the files of an IndexTTS checkpoint and reads their tensors, without checking names or shapes.

Files have their published names, or these with the suffix `.safetensors`. Of a path in `config.yaml` only the file name
is used: the first release contained absolute paths of the machine it was trained on.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import ENGINE, Variant
from intone.server.engines.indextts.checkpoint.config_files import read_yaml
from intone.server.engines.indextts.checkpoint.parts import (
    CAMPPLUS,
    CODEC,
    CODEC_FOLDER,
    MASK_GCT,
    VOCODER,
    W2V_BERT,
    places,
)
from intone.server.engines.weights import read_tensors
from intone.server.errors import CheckpointError

CONFIG_FILE = "config.yaml"

# Newer versions of torch name the two parts of a weight-normed weight like this.
NORM_PARTS = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}


class Files:
    """The paths of all files; CheckpointError if one is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config = self._find([folder], CONFIG_FILE)
        self.document = read_yaml(self.config)
        self.gpt = self._named("gpt_checkpoint", "gpt.pth")
        self.s2mel = self._named("s2mel_checkpoint", "s2mel.pth")
        self.statistics = self._named("w2v_stat", "wav2vec2bert_stats.pt")
        self.speakers = self._named("spk_matrix", "feat1.pt")
        self.emotions = self._named("emo_matrix", "feat2.pt")
        self.w2v_config = self._part(W2V_BERT, "config.json")
        self.w2v_bert = self._part(W2V_BERT, "model.safetensors")
        self.campplus = self._part(CAMPPLUS, "campplus_cn_common.bin")
        self.vocoder_config = self._part(VOCODER, "config.json")
        self.vocoder = self._part(VOCODER, "bigvgan_generator.pt")

    def codec(self, variant: Variant) -> Path:
        """The codec's file; in IndexTTS-2 it belongs to MaskGCT."""
        if variant is Variant.V25:
            return self._find([self._folder], "codec.pth")
        codecs = [place / CODEC_FOLDER for place in places(self._folder, MASK_GCT)]
        return self._find([*codecs, self._folder / CODEC_FOLDER], CODEC)

    def all(self) -> list[Path]:
        """Every file except the codec's."""
        return [path for path in vars(self).values() if isinstance(path, Path) and path != self._folder]

    def _named(self, key: str, default: str) -> Path:
        name = self.document.get(key, default)
        if not isinstance(name, str):
            raise CheckpointError(ENGINE, f"{self.config}: {key}: found {name!r}, expected a file name")
        return self._find([self._folder], PurePosixPath(name).name)

    def _part(self, repository: str, name: str) -> Path:
        return self._find(list(places(self._folder, repository)), name)

    def _find(self, folders: Sequence[Path], name: str) -> Path:
        names = [name, str(PurePosixPath(name).with_suffix(".safetensors"))]
        for folder in folders:
            for candidate in names:
                if (folder / candidate).is_file():
                    return folder / candidate
        shown = ", ".join(str(folder) for folder in folders)
        raise CheckpointError(ENGINE, f"found no {' or '.join(dict.fromkeys(names))}, expected one in {shown}")


def read_flat(path: Path, roots: Sequence[str] = ()) -> dict[str, Tensor]:
    """All tensors of a file, or those under the first of `roots` that it has; nested names are joined by dots."""
    if path.suffix == ".safetensors":
        return dict(_renamed(read_tensors(path, ENGINE)))
    content = _unpickled(path)
    inner = next((content[root] for root in roots if isinstance(content, Mapping) and root in content), content)
    if not isinstance(inner, Mapping):
        raise CheckpointError(ENGINE, f"{path}: found {type(inner).__name__}, expected a state dict")
    return dict(_renamed(dict(_flattened(inner, path))))


def read_bare(path: Path) -> Tensor:
    """The only tensor of a file."""
    if path.suffix == ".safetensors":
        tensors = list(read_tensors(path, ENGINE).values())
        content: Any = tensors[0] if len(tensors) == 1 else tensors
    else:
        content = _unpickled(path)
    if not isinstance(content, Tensor):
        raise CheckpointError(ENGINE, f"{path}: found {type(content).__name__}, expected a tensor")
    return content


def _unpickled(path: Path) -> Any:
    """Memory-mapped, so that unused content such as optimizer state is never read."""
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files written before torch 1.6 cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error


def _flattened(content: Mapping[Any, Any], path: Path, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        name = f"{prefix}{str(key).removeprefix('module.')}"
        if isinstance(value, Mapping):
            yield from _flattened(value, path, f"{name}.")
        elif isinstance(value, Tensor):
            yield name, value
        else:
            raise CheckpointError(ENGINE, f"{path}: {name}: found {type(value).__name__}, expected a tensor")


def _renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        for part, published in NORM_PARTS.items():
            name = name.removesuffix(part) + published if name.endswith(part) else name
        yield name, tensor
