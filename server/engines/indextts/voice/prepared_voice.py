"""Prepared voices of IndexTTS: a recording's conditioning as arrays that the voice store keeps, and back as tensors."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from intone.server.domain import PreparedVoice, Recording
from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt
from intone.server.engines.indextts.voice.conditioning import truncation_notices
from intone.server.engines.indextts.voice.encoders import Encoders
from intone.server.engines.pieces import VoicePieces
from intone.server.engines.weights import read_tensors
from intone.server.errors import CheckpointError
from intone.server.nn.transfer import send

PACK_FILE = "voice.safetensors"
"""The arrays of a voice beside the files of a checkpoint that was trained with this voice alone."""

CACHED_SPEAKERS = 32
"""A voice of 15 s takes 3 MB."""


ARRAYS = ("rows", "emotion", "emotion_rows", "mel", "condition", "style", "moments")
"""Names of a prepared voice's arrays."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice as the models take it; in IndexTTS "speaker" always means voice identity.

    Attributes:
        rows: `[N, D]`, the speaker's rows of the language model's prefix.
        emotion: `[D]`, the emotion vector of the recording itself.
        emotion_rows: `[8, D]`, emotion vectors of a similar speaker in each emotion.
        prompt: the recording for the acoustic model.
    """

    rows: Tensor
    emotion: Tensor
    emotion_rows: Tensor
    prompt: AcousticPrompt


@torch.inference_mode()
def prepare(encoder: Encoders, acoustic: AcousticModel, recording: Recording, fingerprint: str) -> VoicePieces:
    """Compute everything that depends on the recording alone, a layer of an encoder in each piece.

    Raises:
        CallerError: the recording is too short or not finite (field `audio`).
    """
    parts = yield from encoder.enrol(recording)
    prompt = acoustic.prompt(parts.mel, parts.features, parts.style)
    speaker = (parts.speaker, parts.emotion, parts.emotion_rows)
    tensors = (*speaker, prompt.mel, prompt.condition, prompt.style, prompt.moments)
    arrays = {name: tensor.cpu().numpy() for name, tensor in zip(ARRAYS, tensors, strict=True)}
    return PreparedVoice(fingerprint, arrays, notices=truncation_notices(recording))


def packed_voice(folder: Path, fingerprint: str) -> PreparedVoice | None:
    """The voice that a checkpoint brings, None if it brings none; `fingerprint` is that of its weights.

    Raises:
        CheckpointError: the file cannot be read, or lacks an array.
    """
    path = folder / PACK_FILE
    if not path.is_file():
        return None
    tensors = read_tensors(path, ENGINE)
    missing = sorted(set(ARRAYS) - set(tensors))
    if missing:
        raise CheckpointError(ENGINE, f"{path}: found no {', '.join(missing)}, expected {', '.join(ARRAYS)}")
    return PreparedVoice(fingerprint, {name: tensors[name].numpy() for name in ARRAYS})


class SpeakerCache:
    """The voices used last, as tensors on the model's device. Not thread-safe."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._by_id: OrderedDict[int, tuple[PreparedVoice, Speaker]] = OrderedDict()

    def get(self, voice: PreparedVoice) -> Speaker:
        """See `speaker_of`."""
        known = self._by_id.pop(id(voice), None)  # an id is not reused while its voice is referenced here
        speaker = known[1] if known else speaker_of(voice, self._device)
        self._by_id[id(voice)] = voice, speaker
        if len(self._by_id) > CACHED_SPEAKERS:
            self._by_id.popitem(last=False)
        return speaker


def speaker_of(voice: PreparedVoice, device: torch.device) -> Speaker:
    """A prepared voice as tensors on the model's device."""
    arrays = _tensors(voice.arrays, device)
    prompt = AcousticPrompt(arrays["mel"], arrays["condition"], arrays["style"], arrays["moments"])
    return Speaker(arrays["rows"], arrays["emotion"], arrays["emotion_rows"], prompt)


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    # A saved voice may be a read-only view of its mapped file; torch warns about such arrays.
    writeable = {name: array if array.flags.writeable else array.copy() for name, array in arrays.items()}
    return {name: send(torch.from_numpy(array), device) for name, array in writeable.items()}
