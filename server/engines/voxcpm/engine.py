"""VoxCPM as an `Engine`: starts units from requests, and advances them step by step."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intone.server import ops
from intone.server.domain import CPU_BATCH, EngineInfo, Recording, SpeakRequest, Step, SynthesisOptions
from intone.server.engines import parameters
from intone.server.engines.base import LoadSpec
from intone.server.engines.common import describe_device, set_threads, warm_up
from intone.server.engines.devices import own_stream
from intone.server.engines.packed_cache import PackedCache, build_with_cache
from intone.server.engines.phonemes import ALPHABETS, available_languages
from intone.server.engines.pieces import VoicePieces, within
from intone.server.engines.precision import Precision, precision_on
from intone.server.engines.voxcpm import bundled_voice, sizes
from intone.server.engines.voxcpm.config import ENGINE
from intone.server.engines.voxcpm.entry import ENTRY, MODEL
from intone.server.engines.voxcpm.length_limits import limits
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.noise import patch_noise
from intone.server.engines.voxcpm.prompt import build_prompt
from intone.server.engines.voxcpm.slot_model import NEW_UNITS, SlotModel
from intone.server.engines.voxcpm.slot_steps import Made, make_on_slots
from intone.server.engines.voxcpm.state import VoxCPMState
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.voice import prepare_voice
from intone.server.engines.voxcpm.voice_prompt_cache import VoicePromptCache
from intone.server.engines.voxcpm.weights import read_checkpoint
from intone.server.engines.weights import LoadProgress
from intone.server.errors import CallerError, CheckpointError, Reason
from intone.server.nn.stage_clock import StageClock
from intone.server.storage.hub import existing_folder

MIN_PATCHES_PER_TOKEN = 1
"""A text is too long if fewer patches than this would fit after the prompt; ordinary speech takes one to two."""


class VoxCPMEngine:
    """A loaded VoxCPM model. Not thread-safe."""

    def __init__(
        self,
        model: VoxCPM,
        tokenizer: TextTokenizer,
        name: str,
        fingerprint: str,
        slots: SlotModel | None = None,
        own_voice: str = "",
    ) -> None:
        """`slots` computes the units on a GPU; None computes them as on a CPU."""
        config = model.config
        self._slots, self._on_stream = slots, own_stream(model.device, urgent=True)
        self._model, self._tokenizer, self._fingerprint = model, tokenizer, fingerprint
        self._voices = VoicePromptCache(model, tokenizer)
        precision = Precision(model.dtype, model.packed, model.int8).name
        self._patch_ms = 1000 * config.patch_frames * model.vae.hop_out_samples / config.vae.out_sample_rate_hz
        self._info = EngineInfo(
            name=ENGINE,
            model=name,
            sample_rate_hz=config.vae.out_sample_rate_hz,
            languages=config.languages,
            trained=config.trained,
            clones_voices=config.clones_voices,
            voices_emotion=False,
            parameters=parameters.of_diffusion(config.steps, config.guidance),
            device=describe_device(model.device, precision, slots.programs.captured if slots else None),
            alphabets=tuple(ALPHABETS[language] for language in config.languages) if config.phonemes else (),
            own_voice=own_voice,
            max_batch=slots.pool.slots if slots else CPU_BATCH,
            new_units=NEW_UNITS if slots else 1,
        )

    @classmethod
    def load(cls, spec: LoadSpec) -> "VoxCPMEngine":
        """Load what the settings name: a folder, an untrained size, or the voice of this package.

        Raises:
            CheckpointError: as for `from_folder` and `random`.
            ExtensionError: as for `ops.ensure_built_for`.
        """
        ops.ensure_built_for(spec.device)  # now, not in the first sentence
        common: dict[str, Any] = {
            "dtype": spec.precision,
            "device": spec.device,
            "threads": spec.threads,
            "progress": spec.progress,
            "graphs": spec.settings["voxcpm_graphs"],
        }
        if spec.random_weights and spec.source:  # the packaged voice is trained all the same
            return cls.random(spec.source, **common)
        packaged = bundled_voice.folder(spec.source)
        lora = spec.settings["voxcpm_lora"]
        return cls.from_folder(
            packaged or existing_folder(ENGINE, spec.source, MODEL),
            lora=Path(lora).expanduser() if lora else None,
            pack_cache=None if packaged else spec.cache,  # the packaged voice is packed as fast as it is read
            **common,
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        dtype: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        lora: Path | None = None,
        pack_cache: Path | None = None,
        progress: LoadProgress | None = None,
        graphs: bool = True,
        fixed_buffers: bool = False,
    ) -> "VoxCPMEngine":
        """Load a folder in the published layout. Called on the thread that will use the engine.

        Args:
            folder: config.json, model.safetensors or pytorch_model.bin, audiovae.pth or .safetensors, tokenizer.json.
            dtype: one of `PRECISIONS`, for all but the VAE.
            threads: number of torch's threads; None keeps torch's default.
            lora: folder of a fine-tuning, merged into the weights.
            pack_cache: folder where packed weights are saved for the next start; None packs at every start.
            graphs: on CUDA, capture the steps as graphs.
            fixed_buffers: compute on the CPU as on a GPU, by the same code without graphs: for tests.

        Raises:
            CheckpointError: a file of the checkpoint or of the fine-tuning is missing or invalid.
        """
        set_threads(threads)
        checkpoint = read_checkpoint(folder, lora)
        config = checkpoint.config
        if config.phonemes:
            config = replace(config, languages=available_languages(config.languages))
            checkpoint = replace(checkpoint, config=config)
        tokenizer = TextTokenizer.load(folder, config.vocabulary, config.phonemes, config.languages, config.text_ends)
        chosen = _precision(dtype, device, fixed_buffers)
        build = partial(VoxCPM, checkpoint, chosen.dtype, torch.device(device), packed=chosen.packed, int8=chosen.int8)
        slots = SlotModel.loaded(build, graphs, progress) if chosen.packed is None else None
        cache = PackedCache.of(pack_cache, ENGINE, checkpoint.files, checkpoint.fingerprint, chosen.packed)
        model = slots.model if slots else build_with_cache(build, cache, progress)
        name = sizes.model_name(config, folder, lora)
        own_voice = folder.name if folder == bundled_voice.FOLDER and lora is None else ""
        return cls(model, tokenizer, name, checkpoint.fingerprint, slots, own_voice)._warmed_up()

    @classmethod
    def random(
        cls,
        size: str,
        *,
        seed: int = 0,
        dtype: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        progress: LoadProgress | None = None,
        graphs: bool = True,
        fixed_buffers: bool = False,
    ) -> "VoxCPMEngine":
        """An untrained model of one of `sizes.size_names`, for tests and benchmarks; otherwise as `from_folder`.

        Raises:
            CheckpointError: the size is unknown.
        """
        if size not in sizes.size_names():
            known = ", ".join(sizes.size_names())
            raise CheckpointError(ENGINE, f"found size {size!r}, expected one of {known}")
        set_threads(threads)
        chosen = _precision(dtype, device, fixed_buffers)
        checkpoint = sizes.in_memory(size, seed, chosen.checkpoint_dtype)
        build = partial(VoxCPM, checkpoint, chosen.dtype, torch.device(device), packed=chosen.packed, int8=chosen.int8)
        slots = SlotModel.loaded(build, graphs, progress) if chosen.packed is None else None
        model = slots.model if slots else build(progress=progress)
        name = f"{size}, random weights"
        return cls(model, sizes.byte_tokenizer(), name, checkpoint.fingerprint, slots)._warmed_up()

    @property
    def info(self) -> EngineInfo:
        """Name, model, sample rate, languages and capabilities; constant."""
        return self._info

    @property
    def fingerprint(self) -> str:
        """Of the weights."""
        return self._fingerprint

    @property
    def batches(self) -> bool:
        """True: weights are read from memory once for all units."""
        return True

    @property
    def model(self) -> VoxCPM:
        """The model, for measurements and tests."""
        return self._model

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """See `voice.prepare_voice`; then the prefix of prompts with the voice is read. CallerError also if the model
        cannot clone voices (field `audio`)."""
        if not self._info.clones_voices:
            message = f"{self._info.model} has one voice and cannot clone another"
            raise CallerError("audio", message, Reason.CLONING_UNAVAILABLE)
        return within(self._on_stream, self._prepare_voice(recording))

    @torch.inference_mode()
    def _prepare_voice(self, recording: Recording) -> VoicePieces:
        voice = yield from prepare_voice(self._model, recording, self._fingerprint)
        if self._slots is None:  # on slots, whole prompts are read
            prefix = self._voices.get(voice).prefix
            prefix.caches = yield from self._model.read_prefix(prefix.prompt)
        return voice

    def start(self, request: SpeakRequest) -> VoxCPMState:
        """Create a unit; the model does not run yet.

        Raises:
            CallerError: the text is empty or too long (field `text`).
        """
        text = re.sub(r"\s+", " ", request.text)
        target = self._tokenizer.ids(text) if text.strip() else []
        if not target:
            message = f"there is nothing in it to speak in {' or '.join(self._info.languages)}"
            raise CallerError("text", message, Reason.TEXT_UNSPEAKABLE)
        voice = request.voice
        assert voice is None or voice.fingerprint == self._fingerprint, "voices are prepared again for other weights"
        with self._on_stream():
            cached = self._voices.get(voice) if voice else None
            if cached is not None:
                prompt, shared_length = cached.prompt(text, target, self._tokenizer)
            else:
                prompt, shared_length = build_prompt(target, self._model.empty_audio), 0
            decoder = cached.decoder if cached else self._model.vae.initial_state()
        room = self._model.config.max_length - len(prompt) + 1  # the last patch takes no position
        if room < max(1, MIN_PATCHES_PER_TOKEN * len(target)):
            raise CallerError(
                "text",
                f"with the voice it takes {len(prompt)} positions of {self._model.config.max_length}, "
                "which leaves too few to speak it: send less at once",
                Reason.TEXT_TOO_LONG,
            )
        options, guidance = request.options, request.options.number("guidance")
        earliest_end, max_patches = limits(options, len(target), self._patch_ms, self._info.trained)
        return VoxCPMState(
            prompt=prompt,
            seed=request.seed,
            steps=options.integer("steps") or self._model.config.steps,
            guidance=self._model.config.guidance if guidance is None else guidance,
            earliest_end=earliest_end,
            max_patches=min(max_patches, room),
            decoder=decoder,
            prefix=cached.prefix if cached and shared_length else None,
            shared_length=shared_length,
        )

    @torch.inference_mode()
    def step(self, states: Sequence[VoxCPMState]) -> list[Step]:
        """Advance every unit: first by one latent frame, then by the rest of that patch, then by a patch per step.

        On a GPU by a patch from the first one on; a unit for which there is no room yet gets none.
        """
        assert not any(state.done for state in states), "a unit that has ended cannot be stepped"
        clock = StageClock(self._model.device)
        with self._on_stream():
            if self._slots:
                made = make_on_slots(self._slots, states, self._noise, clock)
            else:
                made = self._make_and_decode(states, clock)
        stage_ms = clock.stage_ms()
        steps = []
        for state, (pcm, stop) in zip(states, made, strict=True):
            if pcm is not None:
                state.silence.add(pcm)
            if stop is not None:
                self._check_end(state, stop)
            waits = self._slots is not None and state.unit is None
            steps.append(Step(pcm, state.done, cut=state.done and state.cut, stage_ms=stage_ms, waits=waits))
        return steps

    def held_bytes(self, state: VoxCPMState) -> int:
        """See `VoxCPMState.held_bytes`."""
        return state.held_bytes(self._model.config)

    def _make_and_decode(self, states: Sequence[VoxCPMState], clock: StageClock) -> list[Made]:
        """As on a CPU: a patch of every unit that needs one, then its next frames."""
        making = [state for state in states if state.undecoded is None]
        stops = self._make(making, clock).tolist() if making else []
        with clock.stage("vae"):
            pieces = [self._next_frames(state) for state in states]
            decoded = self._model.vae.decode_each(pieces, [state.decoder for state in states])
        stopped = dict(zip(map(id, making), stops, strict=True))
        made: list[Made] = []
        for state, (samples, decoder) in zip(states, decoded, strict=True):
            state.decoder = decoder
            made.append((samples.numpy(), stopped.get(id(state))))
        return made

    def _noise(self, states: Sequence[VoxCPMState]) -> NDArray[np.float32]:
        """What the diffusion of each unit's next patch starts from: `[B, P, D]`."""
        config = self._model.config
        shape = (config.patch_frames, config.latent_dim)
        noise = np.stack([patch_noise(state.seed, state.made, math.prod(shape)) for state in states])
        scaled: NDArray[np.float32] = np.float32(config.temperature) * noise
        return scaled.reshape(-1, *shape)

    def _warmed_up(self) -> "VoxCPMEngine":
        """This engine, after two patches that select kernels and page in the weights before the first request."""
        patches_ms = math.ceil(2 * self._patch_ms)
        options = SynthesisOptions(parameters={"steps": 2, "max_audio_ms": patches_ms})
        warm_up(self, SpeakRequest(text="a", seed=0, options=options))
        return self

    def _make(self, states: Sequence[VoxCPMState], clock: StageClock) -> Tensor:
        """Generate the next patch of every unit; `[B]`, bool: whether it is the model's last."""
        model = self._model
        fresh = [state for state in states if state.generation is None]
        running = [state.generation for state in states if state.generation is not None]
        if fresh:
            with clock.stage("prefill"):
                for state in fresh:
                    assert state.prompt is not None, "a unit has its prompt until the prefill"
                    max_positions = len(state.prompt) + state.max_patches - 1
                    state.generation = model.prefill(
                        state.prompt, max_positions, state.steps, state.prefix, state.shared_length
                    )
                    state.prompt = None
        if running:
            with clock.stage("lm"):
                model.advance(running)
        units = [state.generation for state in states if state.generation is not None]
        with clock.stage("diffusion"):
            model.make_patches(units, torch.from_numpy(self._noise(states)), [state.guidance for state in states])
            stops = model.should_stop(units)
        for state, unit in zip(states, units, strict=True):
            state.undecoded = unit.patch.T  # [D, P]
            state.made += 1
        return stops

    def _next_frames(self, state: VoxCPMState) -> Tensor:
        """The latent frames to decode in this step: one frame of the first patch, then its rest, then whole patches."""
        frames = state.undecoded
        assert frames is not None, "there is a patch from this step or the previous one"
        first_sound = state.made == 1 and frames.shape[1] == self._model.config.patch_frames > 1
        state.undecoded = frames[:, 1:] if first_sound else None
        return frames[:, :1] if first_sound else frames

    def _check_end(self, state: VoxCPMState, should_stop: bool) -> None:
        """Update `ended` and `cut` after a new patch."""
        last = state.made - 1
        silent = self._info.trained and state.silence.is_end(self._info.sample_rate_hz)
        stopped = (should_stop or silent) and last >= state.earliest_end
        state.cut = not stopped and state.made >= state.max_patches
        state.ended = stopped or state.cut


def _precision(dtype: str, device: str, fixed_buffers: bool) -> Precision:
    if fixed_buffers and torch.device(device).type == "cpu":
        return Precision(torch.bfloat16 if dtype == "bf16" else torch.float32, None, dtype == "int8")
    return precision_on(torch.device(device), dtype, ENTRY.cpu_precision)
