"""The tensors of an IndexTTS checkpoint: which there must be, and reading them strictly.

`part_shapes` takes names and shapes from the modules, which declare each tensor where they read it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from intone.server.engines.indextts.checkpoint.checkpoint_files import Files, read_bare, read_flat
from intone.server.engines.indextts.checkpoint.config import ENGINE, IndexTTSConfig, Variant
from intone.server.engines.indextts.checkpoint.config_files import config_of, read_json
from intone.server.engines.indextts.gpt.native_gpt import gpt_tensors
from intone.server.engines.indextts.gpt.prefixes import Prefixes
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.voice.campplus import CAMPPlus
from intone.server.engines.indextts.voice.conditioning import Conditioners, FeatureStatistics
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.indextts.voice.w2v_bert import W2vBert
from intone.server.engines.weights import Shape, Weights, check_tensors, declared_shapes, fingerprint


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All tensors of a model, checked, by published name.

    Attributes:
        gpt: language model and conditioners.
        s2mel: `cfm.estimator.…`, `length_regulator.…`, and in IndexTTS-2 `gpt_layer.…`.
        codec, w2v_bert, campplus, vocoder: the used tensors of their own files.
        statistics, matrix: see `VoiceEncoder`.
        fingerprint: of the files.
        files: which these are; none for a model made in memory.
    """

    config: IndexTTSConfig
    gpt: dict[str, Tensor]
    s2mel: dict[str, Tensor]
    codec: dict[str, Tensor]
    w2v_bert: dict[str, Tensor]
    campplus: dict[str, Tensor]
    vocoder: dict[str, Tensor]
    statistics: FeatureStatistics
    matrix: EmotionMatrix
    fingerprint: str
    files: tuple[Path, ...]


@cache
def part_shapes(config: IndexTTSConfig) -> dict[str, dict[str, Shape]]:
    """Every tensor that is used, by part (the dictionaries of `Checkpoint`): published name → shape.

    Raises:
        CheckpointError: the parts of the configuration do not fit together.
    """

    def read(weights: Weights) -> None:
        gpt = weights.scope("gpt")
        Prefixes(config, gpt), gpt_tensors(config, gpt), Conditioners(config, gpt)
        AcousticModel(config, weights.scope("s2mel"), weights.scope("codec"), packed=None)
        W2vBert(config.w2v_bert, weights.scope("w2v_bert"))
        CAMPPlus(config.campplus, weights.scope("campplus"))
        BigVGAN(config.vocoder, weights.scope("vocoder"))

    parts: dict[str, dict[str, Shape]] = {}
    for name, shape in declared_shapes(read).items():
        part, published = name.split(".", 1)
        parts.setdefault(part, {})[published] = shape
    return parts


def unused_names(config: IndexTTSConfig) -> dict[str, str]:
    """Names that the files of a part may contain although nothing uses them, as regular expressions for whole names."""
    v25, depth, layers = config.variant is Variant.V25, config.dit.depth, config.w2v_bert.layers
    without_skip = "|".join(str(index) for index in range(depth // 2 + 1))
    gpt = [r"text_head\..*", r"gpt\.h\.\d+\.attn\.(bias|masked_bias)", r".*\.embed\.pos_enc\.pe"]
    gpt += [r"conditioning_encoder\..*", r"perceiver_encoder\..*", r"speed_emb\..*"] if v25 else []
    s2mel = [
        r"cfm\.estimator\.(x_embedder|cond_embedder|content_mask_embedder)\..*",
        r"cfm\.estimator\.input_pos",
        rf"cfm\.estimator\.transformer\.layers\.({without_skip})\.skip_in_linear\..*",
        r"length_regulator\.(embedding\.weight|mask_token)",
    ]
    s2mel += [r"gpt_layer\..*"] if v25 else []
    codec = [r"(encoder|down|quantizer\.quantizers\.0\.in_project)\..*"] if v25 else [r"decoder\..*"]
    w2v_bert = [r"masked_spec_embed", r"(adapter|intermediate_ffn)\..*"]
    w2v_bert += [rf"encoder\.layers\.{index}\..*" for index in range(layers, 100)]  # the layers above ours
    parts = {"gpt": gpt, "s2mel": s2mel, "codec": codec, "w2v_bert": w2v_bert, "campplus": [r".*\.num_batches_tracked"]}
    return {part: "|".join(patterns) for part, patterns in parts.items()}


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and check a folder in the published layout.

    Raises:
        CheckpointError: a file is missing or unreadable, or a name is missing, unexpected or of the wrong shape.
    """
    files = Files(folder)
    config = config_of(files.document, read_json(files.vocoder_config), read_json(files.w2v_config))
    shapes, unused = part_shapes(config), unused_names(config)

    def read(part: str, path: Path, *roots: str) -> dict[str, Tensor]:
        expected, ignored = shapes[part], re.compile(unused.get(part, r"(?!)"))
        found = read_flat(path, roots)
        used = {name: tensor for name, tensor in found.items() if name in expected or not ignored.fullmatch(name)}
        check_tensors(used, expected, path, ENGINE)
        return used

    statistics = read_flat(files.statistics)
    speakers, emotions = read_bare(files.speakers), read_bare(files.emotions)
    _check_matrices(config, statistics, speakers, emotions, folder)
    codec_path = files.codec(config.variant)
    paths = [*files.all(), codec_path]
    return Checkpoint(
        config=config,
        gpt=read("gpt", files.gpt, "model"),
        s2mel=read("s2mel", files.s2mel, "net"),
        codec=read("codec", codec_path, "model"),
        w2v_bert=read("w2v_bert", files.w2v_bert),
        campplus=read("campplus", files.campplus),
        vocoder=read("vocoder", files.vocoder, "generator"),
        statistics=FeatureStatistics(statistics["mean"].float(), statistics["var"].float()),
        matrix=EmotionMatrix(speakers.float(), emotions.float(), config.emotion_rows),
        fingerprint=fingerprint(paths),
        files=tuple(paths),
    )


def _check_matrices(
    config: IndexTTSConfig, statistics: Mapping[str, Tensor], speakers: Tensor, emotions: Tensor, folder: Path
) -> None:
    rows = sum(config.emotion_rows)
    found = {**statistics, "spk_matrix": speakers, "emo_matrix": emotions}
    expected = {
        "mean": (config.feature_dim,),
        "var": (config.feature_dim,),
        "spk_matrix": (rows, config.campplus.embedding),
        "emo_matrix": (rows, config.gpt.dim),
    }
    check_tensors(found, expected, folder, ENGINE)
