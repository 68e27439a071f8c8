"""Which engines the settings name, and how each is loaded. Knows nothing of serving."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from intone.server.config import Config, ConfigError
from intone.server.domain import Recording, SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.engines.voxcpm import bundled_voice

Progress = Callable[[str, float], None]
"""Told an engine's name and how much of it is loaded, 0 to 1."""

OWN_VOICE_TEXT = "The evening was warm and quiet, and people sat outside and talked until dark."
"""What the starter voice says where another engine needs a recording of it."""


def loaders(config: Config, progress: Progress | None = None) -> dict[str, Callable[[], Engine]]:
    """How to load each engine, by name; each is called on the engine's own thread.

    Raises:
        ConfigError: no engine is named.
        CheckpointError: the package has a voice without the card that says how good it is.
    """
    threads = config.threads or os.cpu_count() or 1
    found: dict[str, Callable[[], Engine]] = {}
    if config.voxcpm or _speaks_unasked(config):
        found["voxcpm"] = partial(_load_voxcpm, config, threads, progress)
    if config.indextts:
        found["indextts"] = partial(_load_indextts, config, threads, progress)
    if config.starter:
        found["starter"] = partial(_load_starter, threads)
    if not found:
        raise ConfigError("there is no engine to load: give --voxcpm FOLDER, or leave --no-starter out")
    return found


def _speaks_unasked(config: Config) -> bool:
    """Whether the voice of the package is who speaks plain talk, with no VoxCPM named."""
    if config.default_engine not in ("auto", "voxcpm"):
        return False
    own = bundled_voice.folder()
    return own is not None and bundled_voice.good_enough(own) and bundled_voice.can_read()


def _load_voxcpm(config: Config, threads: int, progress: Progress | None) -> Engine:
    # Torch takes a second to import: a server with the starter voice alone does without it.
    from intone.server import ops
    from intone.server.engines.voxcpm.engine import VoxCPMEngine

    ops.ensure_built()  # now, not in the first sentence
    told = None if progress is None else partial(progress, "voxcpm")
    dtype = config.precisions()["voxcpm"]
    if config.random_weights and config.voxcpm:  # our own voice has weights, beside whatever has none
        return VoxCPMEngine.random(config.voxcpm, dtype=dtype, threads=threads, progress=told)
    own = bundled_voice.folder(config.voxcpm)
    lora = Path(config.voxcpm_lora).expanduser()
    return VoxCPMEngine.load(
        own or Path(config.voxcpm).expanduser(),
        dtype=dtype,
        threads=threads,
        lora=lora if config.voxcpm_lora else None,
        pack_cache=None if own else config.pack_cache_folder(),  # our own is small, and packed as fast as it is read
        progress=told,
    )


def _load_indextts(config: Config, threads: int, progress: Progress | None) -> Engine:
    from intone.server.engines.indextts.engine import IndexTTSEngine

    told = None if progress is None else partial(progress, "indextts")
    dtype = config.precisions()["indextts"]
    if config.random_weights:
        engine = IndexTTSEngine.random(
            config.indextts, dtype=dtype, threads=threads, progress=told, drop_encoders=config.drop_encoders
        )
    else:
        folder = Path(config.indextts).expanduser()
        engine = IndexTTSEngine.load(
            folder, dtype=dtype, threads=threads, progress=told, drop_encoders=config.drop_encoders
        )
    if config.starter:  # the voice of whoever names none, so that it stays the same when the route changes
        engine.adopt_voice(_starter_recording(threads))
    return engine


def _starter_recording(threads: int) -> Recording:
    from intone.server.engines.starter import StarterEngine

    starter = StarterEngine.load(threads)
    state = starter.start(SpeakRequest(OWN_VOICE_TEXT, seed=0))
    pieces: list[Step] = []
    while not pieces or not pieces[-1].done:
        pieces += starter.step([state])
    samples = np.concatenate([piece.pcm for piece in pieces if piece.pcm is not None])
    return Recording(samples, starter.info.sample_rate_hz, OWN_VOICE_TEXT)


def _load_starter(threads: int) -> Engine:
    # Brings onnxruntime, which a server without the starter voice need not have installed.
    from intone.server.engines.starter import StarterEngine

    return StarterEngine.load(threads)
