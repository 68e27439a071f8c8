"""The tensors of an IndexTTS checkpoint, read strictly. Knows nothing of what they compute, or where files are."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from intone.server.engines.indextts.checkpoint.checkpoint_files import Files, read_bare, read_flat
from intone.server.engines.indextts.checkpoint.config import ENGINE, IndexTTSConfig
from intone.server.engines.indextts.checkpoint.config_files import config_of, read_json
from intone.server.engines.indextts.gpt import language_model
from intone.server.engines.indextts.s2mel import acoustic, codec
from intone.server.engines.indextts.vocoder import bigvgan
from intone.server.engines.indextts.voice import campplus, conditioning, w2v_bert
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.weights import Shapes, check_tensors, fingerprint


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All tensors of a model, checked, by published name.

    Attributes:
        gpt: the language model's and its conditioning's.
        s2mel: `cfm.estimator.…`, `length_regulator.…`, and in 2 `gpt_layer.…`.
        codec, w2v_bert, campplus, vocoder: of their own files, as far as they are used.
        statistics, matrix: what `VoiceEncoder` wants.
        fingerprint: of the weights.
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


@dataclass(frozen=True, slots=True)
class Contents:
    """What a part of a model must hold, and what its file may hold beside it.

    Attributes:
        shapes: name → shape, by configuration.
        dead: names, whole, as regular expressions.
    """

    shapes: Callable[[IndexTTSConfig], Shapes]
    dead: Callable[[IndexTTSConfig], Sequence[str]]

    def of(self, tensors: Mapping[str, Tensor], config: IndexTTSConfig, path: Path) -> dict[str, Tensor]:
        """The tensors that are used.

        Raises:
            CheckpointError: a name is missing, unexpected or of the wrong shape.
        """
        shapes = self.shapes(config)
        dead = re.compile("|".join(f"(?:{pattern})" for pattern in self.dead(config)) or r"(?!)")
        used = {name: tensor for name, tensor in tensors.items() if name in shapes or not dead.fullmatch(name)}
        check_tensors(used, shapes, path, ENGINE)
        return used


def gpt_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that is used of the language model's file."""
    return {**language_model.tensor_shapes(config), **conditioning.tensor_shapes(config)}


GPT = Contents(gpt_shapes, language_model.dead_keys)
S2MEL = Contents(acoustic.tensor_shapes, acoustic.dead_keys)
CODEC = Contents(codec.tensor_shapes, codec.dead_keys)
W2V = Contents(lambda c: w2v_bert.tensor_shapes(c.w2v_bert), lambda c: w2v_bert.dead_keys(c.w2v_bert))
VOCODER = Contents(lambda c: bigvgan.tensor_shapes(c.vocoder), lambda c: ())
CAMP = Contents(lambda c: campplus.tensor_shapes(c.campplus), lambda c: campplus.DEAD_KEYS)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and check a folder in the published layout.

    Raises:
        CheckpointError: a file is missing or unreadable, or a name is missing, unexpected or of the wrong shape.
    """
    files = Files(folder)
    config = config_of(files.document, read_json(files.vocoder_config), read_json(files.w2v_config))

    def read(contents: Contents, path: Path, *roots: str) -> dict[str, Tensor]:
        return contents.of(read_flat(path, roots), config, path)

    statistics = read_flat(files.statistics)
    speakers, emotions = read_bare(files.speakers), read_bare(files.emotions)
    _check_matrices(config, statistics, speakers, emotions, folder)
    codec_path = files.codec(config.variant)
    paths = [*files.all(), codec_path]
    return Checkpoint(
        config=config,
        gpt=read(GPT, files.gpt, "model"),
        s2mel=read(S2MEL, files.s2mel, "net"),
        codec=read(CODEC, codec_path, "model"),
        w2v_bert=read(W2V, files.w2v_bert),
        campplus=read(CAMP, files.campplus),
        vocoder=read(VOCODER, files.vocoder, "generator"),
        statistics=FeatureStatistics(statistics["mean"].float(), statistics["var"].float()),
        matrix=EmotionMatrix(speakers.float(), emotions.float(), config.emotion_rows),
        fingerprint=fingerprint(paths),
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
