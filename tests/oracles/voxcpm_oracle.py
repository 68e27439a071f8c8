"""The official package `voxcpm`, for comparison.

The package is imported without its top level, and with empty modules in place of audio and tokenizer libraries that the
comparison does not need; these are removed from `sys.modules` again.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.prompt import Prompt
from intone.server.engines.voxcpm.weights import Checkpoint
from tests.support.voxcpm_tiny import tiny_document

ABSENT = ("torchaudio", "librosa", "transformers")


def installed() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("voxcpm") is not None


@contextmanager
def official() -> Iterator[types.SimpleNamespace]:
    """The official classes: `v1` and `v2` modules of models, `cfm`, `dit`, `enc`, `lm`, `fsq`, `lora`, `text`."""
    spec = importlib.util.find_spec("voxcpm")
    assert spec is not None and spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    before = set(sys.modules)
    try:
        for name, folder in (("voxcpm", root), ("voxcpm.model", root / "model")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(folder)]
        for name in ABSENT:
            if name not in before and importlib.util.find_spec(name) is None:
                sys.modules[name] = types.ModuleType(name)
        transformers = sys.modules.get("transformers")
        if transformers is not None and not hasattr(transformers, "PreTrainedTokenizer"):
            transformers.LlamaTokenizerFast = transformers.PreTrainedTokenizer = object  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield types.SimpleNamespace(
                v1=importlib.import_module("voxcpm.model.voxcpm"),
                v2=importlib.import_module("voxcpm.model.voxcpm2"),
                lm=importlib.import_module("voxcpm.modules.minicpm4"),
                fsq=importlib.import_module("voxcpm.modules.layers"),
                lora=importlib.import_module("voxcpm.modules.layers.lora"),
                text=importlib.import_module("voxcpm.model.utils"),
            )
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("voxcpm", *ABSENT):
                del sys.modules[name]


def official_model(package: types.SimpleNamespace, checkpoint: Checkpoint, lora: Any = None) -> torch.nn.Module:
    """The official model with the same weights; all keys must match."""
    version = checkpoint.config.version
    module = package.v2 if version == 2 else package.v1
    document = tiny_document(version)
    config = module.VoxCPMConfig.model_validate(document)
    vae_class = module.AudioVAEV2 if version == 2 else module.AudioVAE
    tokenizer = types.SimpleNamespace(vocab={})
    model_class = module.VoxCPM2Model if version == 2 else module.VoxCPMModel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation of weight_norm
        vae = vae_class(config.audio_vae_config)
        model = model_class(config, tokenizer, vae, lora, device="cpu")
    merged = checkpoint.model | {f"audio_vae.{name}": tensor for name, tensor in checkpoint.vae.items()}
    model.load_state_dict(merged, strict=lora is None)
    return model.eval()


def official_input(prompt: Prompt, latents: Tensor) -> dict[str, Tensor]:
    """A prompt as the official `inference` takes it; `latents` `[A, P, D]` of all its audio, in order."""
    count = len(prompt)
    mask = torch.zeros(count, dtype=torch.int32).index_fill(0, prompt.audio_positions, 1)
    feat = torch.zeros(count, *latents.shape[1:]).index_copy(0, prompt.audio_positions, latents)
    return {
        "text": prompt.tokens.unsqueeze(0),
        "text_mask": (1 - mask).unsqueeze(0),
        "feat": feat.unsqueeze(0),
        "feat_mask": mask.unsqueeze(0),
    }


@contextmanager
def given_noise(patches: Iterator[Tensor]) -> Iterator[None]:
    """Makes `torch.randn` of the official solver return these `[P, D]` patches."""
    original = torch.randn
    torch.randn = lambda *size, **kwargs: next(patches).T.unsqueeze(0)  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.randn = original  # type: ignore[assignment]
