"""Writes an untrained IndexTTS-2.5, small or of the published size, that the official package can load too.

The text vocabulary is bytes. Sizes that the package does not configure are the published ones in the small model too.
"""

import base64
import copy
import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.sizes import random_part
from intone.server.engines.indextts.layers import sinusoids
from intone.server.engines.indextts.text.front_end import SPECIAL_TOKENS

Documents = tuple[sizes.Document, sizes.Document, sizes.Document]

CONDITIONER = {"output_size": 64, "linear_units": 96, "attention_heads": 2, "num_blocks": 1}
CODES = 512
WIDTH = 128
# Settings that the package requires although nothing depends on them.
FLOW_EXTRAS = {
    **{"class_dropout_prob": 0.1, "block_size": 8192, "target": "mel", "content_codebook_size": 1024},
    **{"content_type": "discrete", "n_f0_bins": 512, "content_codebooks": 1, "zero_prompt_speech_token": False},
    **{"add_resblock_in_transformer": False},
}
EXTRACTOR = {
    **{"feature_extractor_type": "SeamlessM4TFeatureExtractor", "feature_size": 80, "num_mel_bins": 80, "stride": 2},
    **{"sampling_rate": 16000, "padding_side": "right", "padding_value": 1},
}
REGULATOR_EXTRAS = {"content_codebook_size": 2048, "n_codebooks": 1, "quantizer_dropout": 0.0, "n_f0_bins": 512}


def small_documents() -> Documents:
    """The contents of the small model's configuration files."""
    model, vocoder, w2v = published_documents()
    conditioner = model["gpt"]["condition_module"] | CONDITIONER
    model["gpt"] |= {"model_dim": WIDTH, "layers": 2, "heads": 2}
    model["gpt"] |= {"number_mel_codes": CODES + 2, "start_mel_token": CODES, "stop_mel_token": CODES + 1}
    model["gpt"] |= {"condition_module": conditioner, "emo_condition_module": conditioner}
    model["semantic_codec"] |= {"codebook_size": CODES, "vocos_dim": 64, "vocos_intermediate_dim": 96}
    model["semantic_codec"] |= {"vocos_num_layers": 2}
    s2mel = model["s2mel"]
    s2mel["length_regulator"] |= {"channels": WIDTH}
    s2mel["DiT"] |= {"hidden_dim": WIDTH, "content_dim": WIDTH, "num_heads": 2, "depth": 5}
    s2mel["wavenet"] |= {"hidden_dim": WIDTH, "num_layers": 3}
    vocoder |= {"upsample_initial_channel": 64}
    w2v |= {"intermediate_size": 64, "num_hidden_layers": 2}
    return model, vocoder, w2v


def published_documents() -> Documents:
    """The contents of the published model's configuration files."""
    model, vocoder, w2v = copy.deepcopy(sizes.documents("2.5"))
    del model["intone"]
    model["gpt"] |= {"number_text_tokens": 256 + SPECIAL_TOKENS, "mel_length_compression": 1024}
    s2mel = model["s2mel"]
    s2mel["reg_loss_type"] = "l1"
    s2mel["length_regulator"] |= REGULATOR_EXTRAS
    s2mel["DiT"] |= FLOW_EXTRAS
    s2mel["wavenet"] |= {"p_dropout": 0.2}
    return model, vocoder, w2v


def write(folder: Path, documents: Documents) -> None:
    """Write the whole folder. Scores have the spread of a trained model's; units never stop by themselves."""
    config = config_of(*documents)
    generator = torch.Generator().manual_seed(1)
    language = random_part(config, "gpt", generator)
    language["mel_head.weight"] = 3 * language["mel_head.weight"]
    places = sinusoids(5000, config.gpt.emotion[0].dim, torch.device("cpu"))
    torch.save(language | {"emo_conditioning_encoder.embed.pos_enc.pe": places[None]}, folder / "gpt.pth")
    torch.save({"net": _parts(random_part(config, "s2mel", generator))}, folder / "s2mel.pth")
    torch.save({"model": random_part(config, "codec", generator)}, folder / "codec.pth")
    rows, width, semantic = sum(config.emotion_rows), config.gpt.dim, config.feature_dim
    torch.save(
        {
            "mean": 0.1 * torch.randn(semantic, generator=generator),
            "var": 0.5 + torch.rand(semantic, generator=generator),
        },
        folder / "wav2vec2bert_stats.pt",
    )
    torch.save(torch.randn(rows, config.campplus.embedding, generator=generator), folder / "feat1.pt")
    torch.save(torch.randn(rows, width, generator=generator), folder / "feat2.pt")
    campplus = random_part(config, "campplus", generator)
    torch.save(campplus, _made(folder / "campplus") / "campplus_cn_common.bin")
    vocoder = _made(folder / "bigvgan_v2_22khz_80band_256x")
    torch.save({"generator": random_part(config, "vocoder", generator)}, vocoder / "bigvgan_generator.pt")
    encoder = _made(folder / "w2v-bert-2.0")
    w2v_bert = random_part(config, "w2v_bert", generator)
    save_file(w2v_bert | {"masked_spec_embed": torch.zeros(config.w2v_bert.dim)}, encoder / "model.safetensors")
    (encoder / "preprocessor_config.json").write_text(json.dumps(EXTRACTOR), "utf8")
    (folder / "config.yaml").write_text(yaml.safe_dump(documents[0]), "utf8")
    (vocoder / "config.json").write_text(json.dumps(documents[1]), "utf8")
    (encoder / "config.json").write_text(json.dumps(documents[2]), "utf8")
    ranks = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (folder / config.tokenizer_file).write_text(ranks, "ascii")


def _parts(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """One state dict per part, as in the file."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, rest = name.split(".", 1)
        parts.setdefault(first, {})[rest] = tensor
    return parts


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
