"""Reads the published configuration files into the dataclasses of `config.py`.

Keys that inference never uses are ignored. Values that would change the arithmetic are read, or refused with a message.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from intone.server.engines.config_section import Section
from intone.server.engines.indextts.checkpoint.config import (
    ENGINE,
    BigVGANConfig,
    CAMPPlusConfig,
    CodecConfig,
    ConformerConfig,
    DiTConfig,
    GPTConfig,
    IndexTTSConfig,
    MelConfig,
    PerceiverConfig,
    RegulatorConfig,
    ServedConfig,
    SourceConfig,
    Variant,
    W2vBertConfig,
    WaveNetConfig,
)
from intone.server.errors import CheckpointError

FEATURE_LAYER = 17
"""The layer of w2v-BERT whose output is the semantic feature."""

PITCH_ROWS = 2
"""Rows of a frame after its mel bands, in checkpoints with a source; see `vocoder/source.py`."""

EMOTION_LATENT_DIM = 1024
SPEAKER_LATENTS = 32
FEATURES_PER_CODE = {Variant.V2: 1, Variant.V25: 2}


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The parsed `config.yaml`.

    Raises:
        CheckpointError: it cannot be read, or is not a mapping.
    """
    import yaml  # only for checkpoints

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
    return _mapping(document, path)


def read_json(path: Path) -> Mapping[str, Any]:
    """A parsed `config.json`.

    Raises:
        CheckpointError: it cannot be read, or is not an object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
    return _mapping(document, path)


def config_of(document: Mapping[str, Any], vocoder: Mapping[str, Any], w2v_bert: Mapping[str, Any]) -> IndexTTSConfig:
    """Build from the parsed `config.yaml` and the two `config.json` of the vocoder and of w2v-BERT.

    The kind of text vocabulary decides the variant, as the `version` key is 2.0 in both. The section `intone`, which
    published files lack, holds what they do not configure: sizes of some parts, and whether the weights are trained.

    Raises:
        CheckpointError: names the key, what was found and what was expected.
    """
    root = Section(ENGINE, document)
    ours = root.section("intone", {})
    tokenizer = PurePosixPath(root.section("dataset").text("bpe_model")).name
    variant = Variant.V25 if tokenizer.endswith(".tiktoken") else Variant.V2
    s2mel = root.section("s2mel")
    campplus = _campplus(ours.section("campplus", {}))
    config = IndexTTSConfig(
        variant=variant,
        gpt=_gpt(root.section("gpt"), root.section("semantic_codec"), ours, variant),
        codec=_codec(root.section("semantic_codec"), variant),
        regulator=_regulator(s2mel.section("length_regulator")),
        dit=_dit(s2mel),
        wavenet=_wavenet(s2mel.section("wavenet")),
        mel=_mel(s2mel.section("preprocess_params")),
        vocoder=_vocoder(Section(ENGINE, vocoder, "vocoder ")),
        w2v_bert=_w2v_bert(Section(ENGINE, w2v_bert, "w2v-bert ")),
        campplus=campplus,
        emotion_rows=root.counts("emo_num"),
        tokenizer_file=tokenizer,
        trained=ours.flag("trained", True),
        source=_source(ours),
        served=_served(ours),
    )
    _check(config)
    return config


def _mapping(document: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise CheckpointError(ENGINE, f"{path}: found {type(document).__name__}, expected a mapping")
    return document


def _gpt(gpt: Section, codec: Section, ours: Section, variant: Variant) -> GPTConfig:
    gpt.demand(condition_type="conformer_perceiver", use_mel_codes_as_input=True, train_solo_embeddings=False)
    dim, features = gpt.count("model_dim"), codec.count("hidden_size")
    emotion_dim = ours.count("emotion_dim", EMOTION_LATENT_DIM)
    speaker = None
    if variant is Variant.V2:
        speaker = _conditioner(gpt.section("condition_module"), features, dim, SPEAKER_LATENTS)
    return GPTConfig(
        dim=dim,
        layers=gpt.count("layers"),
        heads=gpt.count("heads"),
        text_tokens=gpt.count("number_text_tokens"),
        codes=gpt.count("number_mel_codes"),
        max_text=gpt.count("max_text_tokens"),
        max_codes=gpt.count("max_mel_tokens"),
        start_text=gpt.count("start_text_token", 0, min_value=0),
        stop_text=gpt.count("stop_text_token", 1, min_value=0),
        start_code=gpt.count("start_mel_token"),
        stop_code=gpt.count("stop_mel_token"),
        emotion=_conditioner(gpt.section("emo_condition_module"), features, emotion_dim, 1),
        speaker=speaker,
    )


def _conditioner(
    module: Section, input_dim: int, latent_dim: int, latents: int
) -> tuple[ConformerConfig, PerceiverConfig]:
    module.demand(input_layer="conv2d2")
    dim, heads = module.count("output_size"), module.count("attention_heads")
    feed_forward, blocks = module.count("linear_units"), module.count("num_blocks")
    encoder = ConformerConfig(input_dim, dim, feed_forward, heads, blocks)
    return encoder, PerceiverConfig(latent_dim, dim, latents, heads, module.count("perceiver_mult", 2))


def _codec(codec: Section, variant: Variant) -> CodecConfig:
    codec.demand(downsample_scale=FEATURES_PER_CODE[variant])
    return CodecConfig(
        codebook_size=codec.count("codebook_size"),
        hidden=codec.count("hidden_size"),
        codebook_dim=codec.count("codebook_dim"),
        vocos_dim=codec.count("vocos_dim"),
        vocos_feed_forward=codec.count("vocos_intermediate_dim"),
        vocos_layers=codec.count("vocos_num_layers"),
        downsample=FEATURES_PER_CODE[variant],
    )


def _regulator(regulator: Section) -> RegulatorConfig:
    regulator.demand(is_discrete=False, vector_quantize=False, f0_condition=False)
    ratios = regulator.counts("sampling_ratios", (1, 1, 1, 1))
    regulator.demand(sampling_ratios=[1] * len(ratios))
    return RegulatorConfig(regulator.count("channels"), regulator.count("in_channels"), len(ratios))


def _dit(s2mel: Section) -> DiTConfig:
    dit = s2mel.section("DiT")
    s2mel.demand(dit_type="DiT")
    dit.demand(style_condition=True, final_layer_type="wavenet", f0_condition=False, is_causal=False)
    dit.demand(long_skip_connection=True, uvit_skip_connection=True, time_as_token=False, style_as_token=False)
    return DiTConfig(
        hidden=dit.count("hidden_dim"),
        heads=dit.count("num_heads"),
        depth=dit.count("depth"),
        mel_bands=dit.count("in_channels"),
        content_dim=dit.count("content_dim"),
        style_dim=s2mel.section("style_encoder").count("dim"),
    )


def _wavenet(wavenet: Section) -> WaveNetConfig:
    wavenet.demand(style_condition=True)
    return WaveNetConfig(
        hidden=wavenet.count("hidden_dim"),
        layers=wavenet.count("num_layers"),
        kernel=wavenet.count("kernel_size"),
        dilation_rate=wavenet.count("dilation_rate"),
    )


def _mel(preprocess: Section) -> MelConfig:
    spectrum = preprocess.section("spect_params")
    fmax = spectrum.raw("fmax")  # published as the string "None"
    return MelConfig(
        sample_rate_hz=preprocess.count("sr"),
        n_fft=spectrum.count("n_fft"),
        win_samples=spectrum.count("win_length"),
        hop_samples=spectrum.count("hop_length"),
        bands=spectrum.count("n_mels"),
        fmin_hz=spectrum.number("fmin", 0.0),
        fmax_hz=None if fmax in (None, "None") else spectrum.number("fmax", 0.0),
    )


def _vocoder(vocoder: Section) -> BigVGANConfig:
    vocoder.demand(resblock="1", activation="snakebeta", snake_logscale=True)
    vocoder.demand(use_tanh_at_final=False, use_bias_at_final=False)
    dilations = vocoder.raw("resblock_dilation_sizes")
    return BigVGANConfig(
        mel_bands=vocoder.count("num_mels"),
        channels=vocoder.count("upsample_initial_channel"),
        rates=vocoder.counts("upsample_rates"),
        rate_kernels=vocoder.counts("upsample_kernel_sizes"),
        block_kernels=vocoder.counts("resblock_kernel_sizes"),
        block_dilations=tuple(tuple(int(n) for n in row) for row in dilations or ()),
        sample_rate_hz=vocoder.count("sampling_rate"),
    )


def _w2v_bert(w2v_bert: Section) -> W2vBertConfig:
    w2v_bert.demand(position_embeddings_type="relative_key", hidden_act="swish")
    return W2vBertConfig(
        dim=w2v_bert.count("hidden_size", 1024),
        feed_forward=w2v_bert.count("intermediate_size", 4096),
        heads=w2v_bert.count("num_attention_heads", 16),
        layers=min(FEATURE_LAYER, w2v_bert.count("num_hidden_layers", 24)),
        kernel=w2v_bert.count("conv_depthwise_kernel_size", 31),
        left_positions=w2v_bert.count("left_max_position_embeddings", 64),
        right_positions=w2v_bert.count("right_max_position_embeddings", 8),
        input_dim=w2v_bert.count("feature_projection_input_dim", 160),
        norm_eps=w2v_bert.number("layer_norm_eps", 1e-5),
    )


def _campplus(campplus: Section) -> CAMPPlusConfig:
    published = CAMPPlusConfig()
    return CAMPPlusConfig(
        embedding=campplus.count("embedding", published.embedding),
        head_channels=campplus.count("head_channels", published.head_channels),
        channels=campplus.count("channels", published.channels),
        growth=campplus.count("growth", published.growth),
        blocks=campplus.counts("blocks", published.blocks),
    )


def _source(ours: Section) -> SourceConfig | None:
    source = ours.section("source", {})
    points = source.count("points", 0, min_value=0)
    return SourceConfig(points, source.count("noise", 0, min_value=0)) if points else None


def _served(ours: Section) -> ServedConfig:
    usual, flow, sampling = ServedConfig(), ours.section("flow", {}), ours.section("sampling", {})
    return ServedConfig(
        flow_steps=flow.count("steps", usual.flow_steps),
        guidance=usual.guidance if flow.raw("guidance") is None else flow.number("guidance", 0.0),
        temperature=sampling.number("temperature", usual.temperature),
        repetition_penalty=sampling.number("repetition_penalty", usual.repetition_penalty),
        phonemes=ours.text("phonemes") if ours.raw("phonemes") is not None else usual.phonemes,
    )


def _check(config: IndexTTSConfig) -> None:
    """Check that the parts fit together."""
    rows, source, more, named = config.mel.bands, 0, "", "n_mels"
    if config.source is not None:
        rows, source = rows + PITCH_ROWS, config.source.points + config.source.noise
        more, named = " without the source's rows", f"n_mels + {PITCH_ROWS}"
    pairs = [
        ("w2v-bert hidden_size", config.w2v_bert.dim, "semantic_codec.hidden_size", config.codec.hidden),
        ("s2mel.length_regulator.in_channels", config.regulator.in_channels, "hidden_size", config.codec.hidden),
        ("s2mel.length_regulator.channels", config.regulator.channels, "DiT.content_dim", config.dit.content_dim),
        ("s2mel.style_encoder.dim", config.dit.style_dim, "CAMPPlus embedding", config.campplus.embedding),
        ("s2mel.DiT.in_channels", config.dit.mel_bands, named, rows),
        (f"vocoder num_mels{more}", config.vocoder.mel_bands - source, named, rows),
        ("vocoder sampling_rate", config.vocoder.sample_rate_hz, "sr", config.mel.sample_rate_hz),
        ("emo_num", len(config.emotion_rows), "number of emotions", 8),
    ]
    for name, found, other, expected in pairs:
        if found != expected:
            raise CheckpointError(ENGINE, f"{name}: found {found}, expected {other} = {expected}")
    if config.gpt.dim % config.gpt.heads:
        raise CheckpointError(ENGINE, f"gpt.model_dim: found {config.gpt.dim}, expected a multiple of heads")
