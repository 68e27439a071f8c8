"""Prepares VoxCPM voices from recordings, and restores the parts of a prompt from them.

With a transcript the recording is continued: it is padded at its start, and the decoder's state after it is stored, so
that the generated audio continues the recording exactly as one decode of both would. Without one (version 2 only) the
recording is a reference: padded at its end, with the decoder's initial state.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intone.server.domain import PreparedVoice, Recording
from intone.server.engines.pieces import Pieces, VoicePieces
from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import AudioPrompt
from intone.server.errors import CallerError, Reason

DECODER = "vae."
MAX_POSITIONS_SHARE = 4
"""A recording may fill 1 / `MAX_POSITIONS_SHARE` of the positions, which leaves room for speech."""


def prepare_voice(model: VoxCPM, recording: Recording, fingerprint: str) -> VoicePieces:
    """Encode a recording for `VoxCPMEngine.start`, a patch in each piece.

    Raises:
        CallerError: the recording is empty or too long (field `audio`), or its transcript is missing (field
            `transcript`).
    """
    transcript = recording.transcript.strip()
    if not transcript and model.config.version == 1:
        raise CallerError(
            "transcript", "this VoxCPM continues a recording and needs the words spoken in it", Reason.VOICE_UNSUPPORTED
        )
    audio = yield from model.embed_audio(_whole_patches(model, recording, at_start=bool(transcript)))
    arrays = {"latents": audio.latents.cpu().numpy(), "embeddings": audio.embeddings.float().cpu().numpy()}
    if transcript:
        decoder = yield from warm_decoder(model, audio)
        arrays |= {f"{DECODER}{i}": t.cpu().numpy() for i, t in enumerate(decoder.tensors)}
    return PreparedVoice(fingerprint, arrays, transcript)


def audio_of(voice: PreparedVoice, model: VoxCPM) -> AudioPrompt:
    """The recording of a prepared voice, on the model's device."""
    embeddings = _tensor(voice.arrays["embeddings"], model.device).to(model.dtype)
    return AudioPrompt(_tensor(voice.arrays["latents"], model.device), embeddings)


def decoder_of(voice: PreparedVoice, model: VoxCPM) -> DecoderState:
    """The decoder's state after the recording, or the initial state for a reference."""
    parts = {name: array for name, array in voice.arrays.items() if name.startswith(DECODER)}
    if not parts:
        return model.vae.initial_state()
    return DecoderState(tuple(_tensor(parts[f"{DECODER}{i}"], model.device) for i in range(len(parts))))


def warm_decoder(model: VoxCPM, audio: AudioPrompt) -> Pieces[DecoderState]:
    """The decoder's state after a recording, from as many of its last frames as the state depends on."""
    patches = -(-model.vae.receptive_frames // model.config.patch_frames)
    state = model.vae.initial_state()
    for patch in audio.latents[-patches:]:
        state = model.vae.decode(patch.T.unsqueeze(0), state)[1]
        yield
    return state


def _whole_patches(model: VoxCPM, recording: Recording, at_start: bool) -> Tensor:
    """The recording `[T]` at the VAE's rate, zero-padded to a whole number of patches."""
    if len(recording.samples) == 0 or not np.isfinite(recording.samples).all():
        raise CallerError("audio", "the recording is empty or not finite", Reason.RECORDING_INVALID)
    patch = model.vae.hop_in_samples * model.config.patch_frames
    rate_hz = model.config.vae.sample_rate_hz
    limit_ms = 1000 * patch * (model.config.max_length // MAX_POSITIONS_SHARE) // rate_hz
    if recording.duration_ms > limit_ms:
        message = f"the recording is {recording.duration_ms} ms long; this model takes at most {limit_ms} ms"
        raise CallerError("audio", message, Reason.RECORDING_INVALID)
    samples = recording.samples.astype(np.float32)
    if recording.sample_rate_hz != rate_hz:
        import soxr  # only needed to prepare voices

        samples = soxr.resample(samples, recording.sample_rate_hz, rate_hz)
    missing = -len(samples) % patch
    padding = (missing, 0) if at_start else (0, missing)
    return functional.pad(torch.from_numpy(samples).to(model.device), padding)


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    # A voice loaded from disk may be a read-only view of its file, which torch warns about.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
