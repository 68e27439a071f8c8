"""The configuration of an IndexTTS checkpoint as dataclasses; `config_files.py` reads them from files.

Defaults are the values of the published models that their configuration files do not contain.
"""

from dataclasses import dataclass
from enum import Enum

ENGINE = "indextts"

FRAMES_PER_FEATURE = 1.72
"""Mel frames per semantic feature (50.07 per second) at a duration factor of 1."""


class Variant(Enum):
    """The two published pipelines: they share most modules and differ in text, conditioning and codec."""

    V2 = "2"
    V25 = "2.5"


@dataclass(frozen=True, slots=True)
class ConformerConfig:
    """A conditioning encoder of the language model: a convolution that halves the rate, then conformer blocks."""

    input_dim: int
    dim: int
    feed_forward: int
    heads: int
    blocks: int
    kernel: int = 15


@dataclass(frozen=True, slots=True)
class PerceiverConfig:
    """Latents that attend to an encoder's output."""

    dim: int
    context_dim: int
    latents: int
    heads: int
    ff_mult: int = 2
    layers: int = 2
    head_dim: int = 64

    @property
    def inner(self) -> int:
        """Width of the feed-forward layers."""
        return int(self.dim * self.ff_mult * 2 / 3)


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The language model over semantic codes.

    Attributes:
        text_tokens: size of the text vocabulary; the embedding has one row more.
        codes: size of the output vocabulary, start and stop codes included.
        max_text, max_codes: text tokens and codes that the position tables are for.
        speaker: encoder and perceiver of the speaker (IndexTTS-2 only; 2.5 projects the style instead).
        emotion: encoder and perceiver of the emotion.
    """

    dim: int
    layers: int
    heads: int
    text_tokens: int
    codes: int
    max_text: int
    max_codes: int
    start_text: int
    stop_text: int
    start_code: int
    stop_code: int
    emotion: tuple[ConformerConfig, PerceiverConfig]
    speaker: tuple[ConformerConfig, PerceiverConfig] | None
    languages: int = 107

    @property
    def text_positions(self) -> int:
        """Rows of the text's position table."""
        return self.max_text + 2

    @property
    def code_positions(self) -> int:
        """Rows of the codes' position table."""
        return self.max_codes + 3


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """The semantic codec: RepCodec (2) or EnhancedCodec (2.5); one code stands for `downsample` features."""

    codebook_size: int
    hidden: int
    codebook_dim: int
    vocos_dim: int
    vocos_feed_forward: int
    vocos_layers: int
    downsample: int


@dataclass(frozen=True, slots=True)
class RegulatorConfig:
    """The length regulator: features at 50 Hz to mel frame conditions, in `blocks` of conv, norm, Mish."""

    channels: int
    in_channels: int
    blocks: int = 4


@dataclass(frozen=True, slots=True)
class DiTConfig:
    """The velocity field of the flow, without its WaveNet."""

    hidden: int
    heads: int
    depth: int
    mel_bands: int
    content_dim: int
    style_dim: int

    @property
    def feed_forward(self) -> int:
        """Width of the SwiGLU: two thirds of four times `hidden`, to the next multiple of 256."""
        return -(-int(8 * self.hidden / 3) // 256) * 256


@dataclass(frozen=True, slots=True)
class WaveNetConfig:
    """The convolutions at the end of the velocity field."""

    hidden: int
    layers: int
    kernel: int
    dilation_rate: int


@dataclass(frozen=True, slots=True)
class MelConfig:
    """The mel spectrogram between flow and vocoder; `fmax_hz` None is the Nyquist frequency."""

    sample_rate_hz: int
    n_fft: int
    win_samples: int
    hop_samples: int
    bands: int
    fmin_hz: float
    fmax_hz: float | None


@dataclass(frozen=True, slots=True)
class BigVGANConfig:
    """The vocoder: BigVGAN v2 with SnakeBeta (log scale), clamped output and no bias in the last convolution."""

    mel_bands: int
    channels: int
    rates: tuple[int, ...]
    rate_kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class W2vBertConfig:
    """w2v-BERT 2.0 up to the layer used: `layers` is 17 of the 24 in the published file."""

    dim: int
    feed_forward: int
    heads: int
    layers: int
    kernel: int
    left_positions: int
    right_positions: int
    input_dim: int = 160
    norm_eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class CAMPPlusConfig:
    """The speaker encoder."""

    bands: int = 80
    embedding: int = 192
    head_channels: int = 32
    channels: int = 128
    growth: int = 32
    bottleneck: int = 4
    blocks: tuple[int, ...] = (12, 24, 16)
    dilations: tuple[int, ...] = (1, 2, 2)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """The source of a small vocoder, see `vocoder/source.py`: pulse and noise values per mel frame."""

    points: int
    noise: int


@dataclass(frozen=True, slots=True)
class ServedConfig:
    """What a checkpoint is served with, where the request says nothing else; the defaults are the official values.

    Attributes:
        flow_steps: evaluations of the flow, without those of the guidance.
        guidance: see `AcousticSettings`.
        temperature, repetition_penalty: of the sampling of codes.
        phonemes: name of the phonemizer of a model whose text tokens are phonemes; empty for one that reads letters.
    """

    flow_steps: int = 25
    guidance: float = 0.7
    temperature: float = 0.8
    repetition_penalty: float = 10.0
    phonemes: str = ""


@dataclass(frozen=True, slots=True)
class IndexTTSConfig:
    """A whole model.

    Attributes:
        tokenizer_file: file name of the text vocabulary.
        emotion_rows: rows of the emotion matrix for each of the eight emotions, in the order of `domain.EMOTIONS`.
        trained: False for the random weights of `sizes.py`.
        source: of the vocoder; None in the published models, whose vocoders need none.
    """

    variant: Variant
    gpt: GPTConfig
    codec: CodecConfig
    regulator: RegulatorConfig
    dit: DiTConfig
    wavenet: WaveNetConfig
    mel: MelConfig
    vocoder: BigVGANConfig
    w2v_bert: W2vBertConfig
    campplus: CAMPPlusConfig
    emotion_rows: tuple[int, ...]
    tokenizer_file: str
    trained: bool = True
    source: SourceConfig | None = None
    served: ServedConfig = ServedConfig()

    @property
    def feature_dim(self) -> int:
        """Width of a semantic feature."""
        return self.codec.hidden

    @property
    def features_per_code(self) -> int:
        """Semantic features (50 Hz) per code."""
        return self.codec.downsample
