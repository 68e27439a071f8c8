"""Stage `export`: writes the averaged weights in the published layout, with the voice that they speak in.

The encoders of recordings are not trained, so they are written as zeros; `voice.safetensors` holds what they would
have made of a recording: the voice's row of the prefix, its emotion vectors, and a silence for the flow to continue.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.engines.indextts.checkpoint.checkpoint_files import CONFIG_FILE
from intone.server.engines.indextts.checkpoint.parts import CAMPPLUS, VOCODER, W2V_BERT
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.indextts.voice.prepared_voice import ARRAYS, PACK_FILE
from training.indextts import sizes
from training.indextts.codes import vocabulary
from training.indextts.features import BASIS_FILE, Basis
from training.indextts.flow import Acoustic
from training.indextts.gpt import GPT
from training.indextts.parameters import published
from training.loop import load_state
from training.storage import packed

EXACT = ("filter", "freqs")
"""Ends of the names of tensors that stay float32: the server compares the filters, and frequencies differ widely."""

FILES = {
    "gpt": "gpt.safetensors",
    "s2mel": "s2mel.safetensors",
    "codec": "codec.safetensors",
    "w2v_bert": f"{W2V_BERT.split('/')[1]}/model.safetensors",
    "campplus": f"{CAMPPLUS.split('/')[1]}/campplus_cn_common.safetensors",
    "vocoder": f"{VOCODER.split('/')[1]}/bigvgan_generator.safetensors",
}
"""Part of a checkpoint → its file."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The models of a run with their averaged weights."""

    gpt: GPT
    acoustic: Acoustic
    vocoder: dict[str, Tensor]
    basis: Basis

    @classmethod
    def load(cls, out: Path, size: str) -> "Trained":
        """Read all states of a run.

        Raises:
            FileNotFoundError: a part has not been trained.
        """
        config = sizes.config(size)
        gpt, acoustic = GPT(config), Acoustic(config)
        for model, name in ((gpt, "gpt"), (acoustic, "flow")):
            model.load_state_dict(averaged(out, name))
        return cls(gpt, acoustic, published(averaged(out, "vocoder")), Basis(**load_file(out / BASIS_FILE)))


def averaged(out: Path, name: str) -> dict[str, Tensor]:
    """The averaged weights of a run, float32.

    Raises:
        FileNotFoundError: it has not begun.
    """
    average: Mapping[str, Tensor] = load_state(out / name)["trainee"]["average"]
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in average.items()}


def run(out: Path, size: str, storage: str, folder: Path) -> int:
    """Write a checkpoint to `folder` and return its size in bytes; `storage` is one of `storage.KINDS`.

    Raises:
        FileNotFoundError: a part has not been trained.
    """
    trained = Trained.load(out, size)
    config, (document, vocoder, w2v_bert) = sizes.config(size), sizes.documents(size)
    tensors = {
        "gpt": trained.gpt.published(),
        "s2mel": trained.acoustic.s2mel.tensors(),
        "codec": trained.acoustic.published_codec(),
        "vocoder": trained.vocoder,
    }
    for part, shapes in part_shapes(config).items():
        own = tensors.get(part, {})
        _save(folder / FILES[part], {n: own[n] if n in own else torch.zeros(s) for n, s in shapes.items()}, storage)
    features, emotions = torch.zeros(config.feature_dim), trained.gpt.given["emotions"]
    _save(folder / "wav2vec2bert_stats.safetensors", {"mean": features, "var": features + 1}, "float32")
    _save(folder / "feat1.safetensors", {"rows": torch.zeros(len(emotions), config.campplus.embedding)}, "float16")
    _save(folder / "feat2.safetensors", {"rows": emotions}, "float16")
    _save(folder / PACK_FILE, voice_pack(trained), "float32")
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    for repository, content in ((VOCODER, vocoder), (W2V_BERT, w2v_bert)):
        path = folder / repository.split("/")[1] / "config.json"
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in vocabulary().items()]
    (folder / config.tokenizer_file).write_text("".join(lines), encoding="ascii")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@torch.no_grad()
def voice_pack(trained: Trained) -> dict[str, Tensor]:
    """The arrays of the voice, see `voice/prepared_voice.py`. Its own emotion vector is part of its row."""
    gpt, built = trained.gpt, trained.acoustic.built()
    mel, condition, moments = built.prompt(trained.basis)
    own, emotions = gpt.given["own"], gpt.given["emotions"]
    speaker = (own[None], torch.zeros_like(own), emotions)
    tensors = (*speaker, mel, condition, torch.zeros(built.style_dim), moments.sums)
    return dict(zip(ARRAYS, tensors, strict=True))


def _save(path: Path, tensors: Mapping[str, Tensor], storage: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    exact = {name: tensor for name, tensor in tensors.items() if name.endswith(EXACT) or tensor.dtype == torch.float64}
    others = packed({name: tensor for name, tensor in tensors.items() if name not in exact}, storage)
    save_file(others | exact, path)
