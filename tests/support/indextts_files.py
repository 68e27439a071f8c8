"""Writes an IndexTTS checkpoint in the layout of the releases, with the unused tensors that they contain."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.checkpoint.weights import Checkpoint

Documents = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, documents: Documents, cached: bool = False) -> None:
    """`cached`: the separately published models are in `huggingface_hub`'s cache layout."""
    folder.mkdir(parents=True, exist_ok=True)
    model, vocoder, w2v = documents
    # The first release contained absolute paths of another machine.
    model = {**model, "gpt_checkpoint": "/cubefs/somebody/gpt.pth", "s2mel_checkpoint": "s2mel.pth"}
    (folder / "config.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
    extra = {"text_head.weight": torch.zeros(3), "emo_conditioning_encoder.embed.pos_enc.pe": torch.zeros(1, 5, 4)}
    torch.save({"model": checkpoint.gpt | extra}, folder / "gpt.pth")
    torch.save({"net": nested(checkpoint.s2mel)}, folder / "s2mel.pth")
    torch.save({"mean": checkpoint.statistics.mean, "var": checkpoint.statistics.variance}, stats(folder))
    torch.save(checkpoint.matrix.speakers, folder / "feat1.pt")
    torch.save(checkpoint.matrix.emotions, folder / "feat2.pt")
    place = part(folder, "facebook", "w2v-bert-2.0", cached)
    (place / "config.json").write_text(json.dumps(w2v), encoding="utf-8")
    layer = checkpoint.config.w2v_bert.layers
    unused = {"masked_spec_embed": torch.zeros(4), f"encoder.layers.{layer}.ffn1_layer_norm.weight": torch.zeros(4)}
    save_file(checkpoint.w2v_bert | unused, place / "model.safetensors")
    norms = {"xvector.tdnn.nonlinear.batchnorm.num_batches_tracked": torch.tensor(7)}
    torch.save(checkpoint.campplus | norms, part(folder, "funasr", "campplus", cached) / "campplus_cn_common.bin")
    place = part(folder, "nvidia", "bigvgan_v2_22khz_80band_256x", cached)
    (place / "config.json").write_text(json.dumps(vocoder), encoding="utf-8")
    torch.save({"generator": checkpoint.vocoder}, place / "bigvgan_generator.pt")
    if checkpoint.config.variant is Variant.V25:
        optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}
        torch.save({"model": checkpoint.codec, "optimizer": optimizer, "step": 5}, folder / "codec.pth")
    else:
        place = part(folder, "amphion", "MaskGCT", cached) / "semantic_codec"
        place.mkdir(parents=True, exist_ok=True)
        save_file(checkpoint.codec, place / "model.safetensors")


def stats(folder: Path) -> Path:
    return folder / "wav2vec2bert_stats.pt"


def part(folder: Path, owner: str, name: str, cached: bool) -> Path:
    place = folder / "hf_cache" / f"models--{owner}--{name}" / "snapshots" / "0a1b" if cached else folder / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def nested(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict per part, with the prefix of distributed training, as in the published s2mel file."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, rest = name.split(".", 1)
        parts.setdefault(first, {})[f"module.{rest}"] = tensor
    return parts
