"""Steps of `gpu.py`: both engines on the device against the CPU in float32, and units in a batch against alone.

On the CPU the second engine computes on fixed buffers as on a GPU, without capturing them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gpu_common import Given, Results, audio_of, noise

CLOSE = 2e-3
"""Largest difference of float32 audio in [-1, 1]: other sums, fed back through a few patches or chunks."""

VOICE_S = 3.0
TEXTS = ("Hello there.", "A second sentence, which is somewhat longer.", "Hm.", "And the last one of these four.")


def voxcpm(given: Given, results: Results) -> None:
    """VoxCPM nano with random weights."""
    from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
    from intone.server.engines.pieces import complete
    from intone.server.engines.voxcpm.engine import VoxCPMEngine

    plain = VoxCPMEngine.random("nano", dtype="fp32")
    rate_hz = plain.model.config.vae.sample_rate_hz
    voice = complete(plain.prepare_voice(Recording(noise(VOICE_S, rate_hz), rate_hz, "Words of it.")))
    options = [SynthesisOptions(parameters={"max_audio_ms": 960, "steps": steps}) for steps in (10, 6, 10, 4)]
    requests = [
        SpeakRequest(text, seed=seed, options=each, voice=voice if seed % 2 else None)
        for seed, (text, each) in enumerate(zip(TEXTS, options, strict=True))
    ]
    _compare(given, results, plain, lambda **how: VoxCPMEngine.random("nano", **how), requests)


def indextts(given: Given, results: Results) -> None:
    """IndexTTS nano of both generations with random weights."""
    from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
    from intone.server.engines.indextts.engine import IndexTTSEngine
    from intone.server.engines.pieces import complete

    for size in ("nano", "nano-2"):
        plain = IndexTTSEngine.random(size, dtype="fp32")
        voice = complete(plain.prepare_voice(Recording(noise(VOICE_S, 22050), 22050)))
        options = SynthesisOptions(parameters={"max_audio_ms": 1200, "steps": 2})
        requests = [SpeakRequest(text, seed=seed, options=options, voice=voice) for seed, text in enumerate(TEXTS)]
        _compare(
            given, results, plain, lambda size=size, **how: IndexTTSEngine.random(size, **how), requests, f"{size} "
        )


def _compare(given: Given, results: Results, plain: Any, make: Any, requests: Sequence[Any], name: str = "") -> None:
    """Measure all differences first, then fail if one is too large."""
    wanted = audio_of(plain, requests)
    faults = []
    for graphs in (True, False):
        engine = make(dtype="fp32", device=given.device, fixed_buffers=True, graphs=graphs)
        alone = [audio_of(engine, [request])[0] for request in requests]
        together = audio_of(engine, requests)
        kind = f"{name}{'graphs' if graphs else 'no graphs'}"
        for what, one, other in (("fp32 vs CPU", alone, wanted), ("batch vs alone", together, alone)):
            worst = _worst(one, other)
            results[f"{kind}, {what}"] = worst
            if not worst <= CLOSE:
                faults.append(f"{kind}, {what}: {worst:.3g}")
        if given.device == "cuda" and not graphs:
            faults += _without_synchronization(engine, requests)
    if given.device == "cuda":
        results[f"{name}default precision, first 160 ms"] = _relative(audio_of(make(device="cuda"), requests), wanted)
    if faults:
        raise RuntimeError("; ".join(faults))


def _without_synchronization(engine: Any, requests: Sequence[Any]) -> list[str]:
    """A step may wait for the device in one place only, which torch does not count: an event after the copy."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        audio_of(engine, requests)
    except RuntimeError as error:
        return [f"a step synchronizes: {str(error).splitlines()[0]}"]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return []


def _worst(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest difference; infinite where lengths differ."""
    pairs = list(zip(found, wanted, strict=True))
    if any(len(one) != len(other) for one, other in pairs):
        return float("inf")
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def _relative(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """‖found - wanted‖ / ‖wanted‖ over the beginnings: later parts follow from other latents or codes."""
    count = 2560
    one, other = (np.concatenate([each[:count] for each in audio]) for audio in (found, wanted))
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
