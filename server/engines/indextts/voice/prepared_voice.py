"""A recording as IndexTTS keeps it in a prepared voice, and back. Knows no text and no codes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intone.server.domain import PreparedVoice, Recording
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticPrompt
from intone.server.engines.indextts.voice.conditioning import cuts
from intone.server.engines.indextts.voice.encoders import Encoders


@dataclass(frozen=True, slots=True)
class Speaker:
    """What a unit is spoken with.

    Attributes:
        rows: `[N, D]`, the speaker to the language model.
        emotion: `[D]`, how the recording itself is spoken.
        emotion_rows: `[8, D]`, how this speaker would sound in each emotion.
        prompt: the recording to the acoustic model.
    """

    rows: Tensor
    emotion: Tensor
    emotion_rows: Tensor
    prompt: AcousticPrompt


def prepare(encoder: Encoders, acoustic: AcousticModel, recording: Recording, fingerprint: str) -> PreparedVoice:
    """Everything that depends on the recording alone.

    Raises:
        CallerError: the recording is too short or not finite (field `audio`).
    """
    with torch.inference_mode():
        parts = encoder.enrol(recording)
        prompt = acoustic.prompt(parts.mel, parts.features, parts.style)
    tensors = {
        "rows": parts.speaker,
        "emotion": parts.emotion,
        "emotion_rows": parts.emotion_rows,
        "mel": prompt.mel,
        "condition": prompt.condition,
        "style": prompt.style,
        "moments": prompt.moments,
    }
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return PreparedVoice(fingerprint, arrays, warnings=cuts(recording))


def speaker_of(voice: PreparedVoice, device: torch.device) -> Speaker:
    """A prepared voice on the model's device."""
    arrays = _tensors(voice.arrays, device)
    prompt = AcousticPrompt(arrays["mel"], arrays["condition"], arrays["style"], arrays["moments"])
    return Speaker(arrays["rows"], arrays["emotion"], arrays["emotion_rows"], prompt)


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    # A saved voice may come back as a read-only view of its file, which torch warns about.
    writeable = {name: array if array.flags.writeable else array.copy() for name, array in arrays.items()}
    return {name: torch.from_numpy(array).to(device) for name, array in writeable.items()}
