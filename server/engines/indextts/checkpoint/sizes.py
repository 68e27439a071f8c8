"""The published models and two small ones, with random weights: for tests and benchmarks without a checkpoint.

Untrained models produce noise and never stop by themselves: the length guard ends their units.
"""

from typing import Any

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.random_weights import random_tensors, rules
from intone.server.engines.indextts.checkpoint.weights import Checkpoint, part_shapes
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics
from intone.server.engines.indextts.voice.emotion import EmotionMatrix

Document = dict[str, Any]


def size_names() -> tuple[str, ...]:
    """The names of the published models, and of two small ones with the same modules."""
    return ("nano", "nano-2", "2", "2.5")


def documents(size: str) -> tuple[Document, Document, Document]:
    """The contents of `config.yaml` and the two `config.json` of vocoder and w2v-BERT. KeyError for an unknown size."""
    if size not in size_names():
        raise KeyError(size)
    if size.startswith("nano"):
        return _nano("2" if size == "nano-2" else "2.5"), _vocoder(256), _W2V_NANO
    return _published(size), _vocoder(1536), _W2V_PUBLISHED


def in_memory(size: str, seed: int = 0) -> Checkpoint:
    """An untrained model of that size, without files. KeyError for an unknown size."""
    config = config_of(*documents(size))
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    return Checkpoint(
        config=config,
        **{part: random_part(config, part, generator) for part in part_shapes(config)},
        statistics=FeatureStatistics(torch.zeros(config.feature_dim), torch.ones(config.feature_dim)),
        matrix=_matrix(config, generator),
        fingerprint=f"random-{size}-{seed}",
        files=(),
    )


def random_part(config: IndexTTSConfig, part: str, generator: torch.Generator) -> dict[str, Tensor]:
    """Random tensors for one of `weights.part_shapes`, the same for the same generator state."""
    return random_tensors(part_shapes(config)[part], generator, rules(config).get(part, ()))


def _matrix(config: IndexTTSConfig, generator: torch.Generator) -> EmotionMatrix:
    def rows(width: int) -> Tensor:
        return torch.randn(sum(config.emotion_rows), width, generator=generator)

    return EmotionMatrix(rows(config.campplus.embedding), rows(config.gpt.dim), config.emotion_rows)


def _published(version: str) -> Document:
    newer = version == "2.5"
    conditioner = {"output_size": 512, "input_layer": "conv2d2", "perceiver_mult": 2}
    return _document(
        tokenizer="multilingual_zh_ja_yue_char_del.tiktoken" if newer else "bpe.model",
        gpt={
            **_tokens(codes=8192, text=60509 if newer else 12000),
            "model_dim": 1280,
            "layers": 24,
            "heads": 20,
            "max_mel_tokens": 1815,
            "max_text_tokens": 600,
            "condition_module": {**conditioner, "linear_units": 2048, "attention_heads": 8, "num_blocks": 6},
            "emo_condition_module": {**conditioner, "linear_units": 1024, "attention_heads": 4, "num_blocks": 4},
        },
        codec=_codec(8192, 1024, 384, 2048, 12),
        channels=512,
        style=192,
        dit={"num_heads": 8, "depth": 13},
        wavenet={"num_layers": 8},
        ours={"trained": False},
    )


def _nano(version: str) -> Document:
    conditioner = {"output_size": 64, "input_layer": "conv2d2", "perceiver_mult": 2, "linear_units": 128}
    conditioner |= {"attention_heads": 2, "num_blocks": 2}
    return _document(
        tokenizer="bytes.tiktoken" if version == "2.5" else "bytes.model",
        gpt={
            **_tokens(codes=1024, text=256 + 1673),
            "model_dim": 256,
            "layers": 4,
            "heads": 4,
            "max_mel_tokens": 1815,
            "max_text_tokens": 600,
            "condition_module": conditioner,
            "emo_condition_module": conditioner,
        },
        codec=_codec(1024, _W2V_NANO["hidden_size"], 128, 384, 4),
        channels=128,
        style=64,
        dit={"num_heads": 2, "depth": 5},
        wavenet={"num_layers": 3},
        ours={
            "trained": False,
            "emotion_dim": 128,
            "campplus": {"embedding": 64, "head_channels": 8, "channels": 64, "growth": 16, "blocks": [4, 6, 4]},
        },
    )


def _document(
    tokenizer: str,
    gpt: Document,
    codec: Document,
    channels: int,
    style: int,
    dit: Document,
    wavenet: Document,
    ours: Document,
) -> Document:
    regulator = {"channels": channels, "in_channels": codec["hidden_size"], "sampling_ratios": [1, 1, 1, 1]}
    spectrum = {"n_fft": 1024, "win_length": 1024, "hop_length": 256, "n_mels": 80, "fmin": 0, "fmax": "None"}
    return {
        "version": 2.0,
        "dataset": {"bpe_model": tokenizer},
        "gpt": gpt,
        "semantic_codec": codec,
        "s2mel": {
            "preprocess_params": {"sr": 22050, "spect_params": spectrum},
            "dit_type": "DiT",
            "style_encoder": {"dim": style},
            "length_regulator": {**regulator, "is_discrete": False, "vector_quantize": False, "f0_condition": False},
            "DiT": {
                **{"hidden_dim": channels, "in_channels": 80, "content_dim": channels, "style_condition": True},
                **{"final_layer_type": "wavenet", "is_causal": False, "f0_condition": False},
                **{"long_skip_connection": True, "uvit_skip_connection": True},
                **{"time_as_token": False, "style_as_token": False},
                **dit,
            },
            "wavenet": {
                **{"hidden_dim": channels, "kernel_size": 5, "dilation_rate": 1, "style_condition": True},
                **wavenet,
            },
        },
        "gpt_checkpoint": "gpt.pth",
        "s2mel_checkpoint": "s2mel.pth",
        "w2v_stat": "wav2vec2bert_stats.pt",
        "spk_matrix": "feat1.pt",
        "emo_matrix": "feat2.pt",
        "emo_num": [3, 17, 2, 8, 4, 5, 10, 24],
        "intone": ours,
    }


def _tokens(codes: int, text: int) -> Document:
    return {
        "number_text_tokens": text,
        "number_mel_codes": codes + 2,
        "start_mel_token": codes,
        "stop_mel_token": codes + 1,
        "start_text_token": 0,
        "stop_text_token": 1,
        "use_mel_codes_as_input": True,
        "train_solo_embeddings": False,
        "condition_type": "conformer_perceiver",
    }


def _codec(size: int, hidden: int, dim: int, wide: int, layers: int) -> Document:
    return {
        "codebook_size": size,
        "hidden_size": hidden,
        "codebook_dim": 8,
        "vocos_dim": dim,
        "vocos_intermediate_dim": wide,
        "vocos_num_layers": layers,
    }


def _vocoder(channels: int) -> Document:
    return {
        "resblock": "1",
        "activation": "snakebeta",
        "snake_logscale": True,
        "use_tanh_at_final": False,
        "use_bias_at_final": False,
        "num_mels": 80,
        "sampling_rate": 22050,
        "upsample_initial_channel": channels,
        "upsample_rates": [4, 4, 2, 2, 2, 2],
        "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    }


_W2V_PUBLISHED: Document = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "conv_depthwise_kernel_size": 31,
}
_W2V_NANO: Document = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "conv_depthwise_kernel_size": 31,
}
