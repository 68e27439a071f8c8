"""A recording as VoxCPM keeps it in a prepared voice, and back. Knows no text but the transcript it carries along.

With a transcript the voice is continued: latents padded at their start, and the decoder warm from their end, so that
the first sound joins the recording's last exactly as one decode of both would. Without one (version 2) the recording
is a reference apart: padded at its end, decoder cold.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intone.server.domain import PreparedVoice, Recording
from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import Clip
from intone.server.errors import CallerError, Fault

DECODER = "vae."
LONGEST_SHARE = 4
"""A recording may fill this part of the positions, one in four, so that there is room to speak."""


def prepare_voice(model: VoxCPM, recording: Recording, fingerprint: str) -> PreparedVoice:
    """What `VoxCPMEngine.start` needs of a recording.

    Raises:
        CallerError: the recording is empty or too long (field `audio`), or needs its words (field `transcript`).
    """
    transcript = recording.transcript.strip()
    if not transcript and model.config.version == 1:
        raise CallerError(
            "transcript", "this VoxCPM continues a recording and needs the words spoken in it", Fault.PRECONDITION
        )
    with torch.inference_mode():
        clip = model.hear(_patches(model, recording, at_start=bool(transcript)))
        arrays = {"latents": clip.latents.cpu().numpy(), "embeddings": clip.embeddings.float().cpu().numpy()}
        if transcript:
            arrays |= {f"{DECODER}{i}": t.cpu().numpy() for i, t in enumerate(warm_decoder(model, clip).tensors)}
    return PreparedVoice(fingerprint, arrays, transcript)


def clip_of(voice: PreparedVoice, model: VoxCPM) -> Clip:
    """The recording of a prepared voice, on the model's device."""
    embeddings = _tensor(voice.arrays["embeddings"], model.device).to(model.dtype)
    return Clip(_tensor(voice.arrays["latents"], model.device), embeddings)


def decoder_of(voice: PreparedVoice, model: VoxCPM) -> DecoderState:
    """The decoder's state after the recording, or a cold one where it is a reference."""
    parts = {name: array for name, array in voice.arrays.items() if name.startswith(DECODER)}
    if not parts:
        return model.vae.initial_state()
    return DecoderState(tuple(_tensor(parts[f"{DECODER}{i}"], model.device) for i in range(len(parts))))


def warm_decoder(model: VoxCPM, clip: Clip) -> DecoderState:
    """The state after a clip; only as much of its end is decoded as the state depends on."""
    patches = -(-model.vae.receptive_frames // model.config.patch_frames)
    frames = clip.latents[-patches:].flatten(0, 1).T.unsqueeze(0)  # [1, D, N]
    return model.vae.decode(frames, model.vae.initial_state())[1]


def _patches(model: VoxCPM, recording: Recording, at_start: bool) -> Tensor:
    """The recording at the VAE's rate, zeros added to a whole number of patches: `[T]`."""
    import soxr  # only where voices are made

    if len(recording.samples) == 0 or not np.isfinite(recording.samples).all():
        raise CallerError("audio", "the recording is empty or not finite")
    patch = model.vae.hop_in_samples * model.config.patch_frames
    rate_hz = model.config.vae.sample_rate_hz
    limit_ms = 1000 * patch * (model.config.max_length // LONGEST_SHARE) // rate_hz
    if recording.duration_ms > limit_ms:
        message = f"the recording is {recording.duration_ms} ms long; this model takes at most {limit_ms} ms"
        raise CallerError("audio", message, Fault.TOO_LARGE)
    samples = recording.samples.astype(np.float32)
    if recording.sample_rate_hz != rate_hz:
        samples = soxr.resample(samples, recording.sample_rate_hz, rate_hz)
    missing = -len(samples) % patch
    padding = (missing, 0) if at_start else (0, missing)
    return functional.pad(torch.from_numpy(samples).to(model.device), padding)


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    # A saved voice may come back as a read-only view of its file, which torch warns about.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
