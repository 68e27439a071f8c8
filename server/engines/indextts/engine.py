"""The engine of IndexTTS 2 and 2.5: text and emotion → semantic codes → mel → audio, streamed in chunks.

The first audio is returned after a dozen codes: the flow solves their frames as a continuation of the recording's
frames and of those already emitted, and the vocoder continues from its own state.
"""

import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intone.server import ops
from intone.server.domain import EngineInfo, PreparedVoice, Recording, Samples, SpeakRequest, Step, SynthesisOptions
from intone.server.engines import parameters
from intone.server.engines.base import LoadSpec
from intone.server.engines.common import NO_ROOM_S, describe_device, set_threads, warm_up
from intone.server.engines.devices import own_stream
from intone.server.engines.indextts.cached_voices import CachedVoices
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import ENGINE, IndexTTSConfig, Variant
from intone.server.engines.indextts.checkpoint.weights import Checkpoint, read_checkpoint
from intone.server.engines.indextts.entry import MODEL
from intone.server.engines.indextts.gpt.code_budget import CodeBudget, repeats
from intone.server.engines.indextts.gpt.native_gpt import NativeDecoding
from intone.server.engines.indextts.gpt.prefixes import Prefixes
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.pace import Pace, Rates, measured
from intone.server.engines.indextts.placement import Placement, Vocoder
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticSettings
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.engines.indextts.text.front_end import LANGUAGES, PHONEMIC_LANGUAGES, FrontEnd
from intone.server.engines.indextts.vocoder.source import sourced, state_bytes
from intone.server.engines.indextts.voice.emotion import vector_of
from intone.server.engines.indextts.voice.emotion_clips import EmotionClipCache
from intone.server.engines.indextts.voice.encoders import Encoders, ReloadCheckpoint
from intone.server.engines.indextts.voice.prepared_voice import SpeakerCache, packed_voice, prepare
from intone.server.engines.pieces import VoicePieces, complete, within
from intone.server.engines.weights import LoadProgress, Weights
from intone.server.errors import CheckpointError, UnsupportedVoiceError
from intone.server.nn.stage_clock import StageClock
from intone.server.nn.transfer import fetch, send
from intone.server.storage.hub import existing_folder

CODES_PER_STEP = 8
"""Upper bound of the codes generated in one step: it keeps steps, and so the time to cancel, short."""


class IndexTTSEngine:
    """A loaded IndexTTS model. Not thread-safe."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        front_end: FrontEnd,
        name: str,
        plan: ChunkPlan,
        progress: LoadProgress | None,
        reload: ReloadCheckpoint | None = None,
        on: Placement | None = None,
        pack_cache: Path | None = None,
        packed: PreparedVoice | None = None,
    ) -> None:
        """`reload` as for `Encoders`; `on` is where and how it runs, by default on the CPU; `pack_cache` as for
        `from_folder`; `packed` is the only voice of a checkpoint that was trained with one."""
        on = on or Placement.of()
        config, device = checkpoint.config, on.device
        self._on_stream = own_stream(device, urgent=False)
        self._config, self._front_end, self._plan = config, front_end, plan
        self._fingerprint = checkpoint.fingerprint
        with self._on_stream(), torch.inference_mode():
            gpt = Weights(checkpoint.gpt, device=device, progress=progress)
            self._prefixes, self._gpt = Prefixes(config, gpt), on.language_model(checkpoint, gpt, pack_cache)
            s2mel, codec = (Weights(part, device=device) for part in (checkpoint.s2mel, checkpoint.codec))
            self._acoustic = AcousticModel(config, s2mel, codec, on.packed)
            self._voices = CachedVoices(self._acoustic.voices if on.voice_cache else None)
            self._vocoder: Vocoder = on.vocoder(config, Weights(checkpoint.vocoder, device=device))
            self._encoder = Encoders(checkpoint, reload, device)
            self._times = cache(self._acoustic.time_table)
            table = partial(self._times, config.served.flow_steps)
            self._vocoder, graphs = on.programs(self._gpt, self._acoustic, self._vocoder, plan, table)
            self._vocoder = sourced(self._vocoder, config)
        self._speakers = SpeakerCache(device)
        self._clips = EmotionClipCache(self._encoder)
        self._budget = CodeBudget(config, self._gpt.max_codes())
        self._own_voice = packed
        self._pace: Pace | None = None
        served, phonemic = config.served, bool(config.served.phonemes)
        self._info = EngineInfo(
            name=ENGINE,
            model=name,
            sample_rate_hz=config.vocoder.sample_rate_hz,
            languages=PHONEMIC_LANGUAGES if phonemic else LANGUAGES[config.variant],
            trained=config.trained,
            clones_voices=packed is None,
            voices_emotion=True,
            device=describe_device(device, on.precision, graphs),
            changes_speed=True,
            max_batch=self._gpt.max_batch,
            new_units=self._gpt.new_units,
            parameters=parameters.of_diffusion(served.flow_steps, 1.0 + served.guidance),
            alphabets=("ipa",) if phonemic else (),
        )
        if progress:
            progress(1.0)

    @classmethod
    def load(cls, spec: LoadSpec) -> "IndexTTSEngine":
        """Load what the settings name: a folder or an untrained size.

        Raises:
            CheckpointError: as for `from_folder` and `random`.
            ExtensionError: as for `ops.ensure_built_for`.
        """
        ops.ensure_built_for(spec.device)  # now, not in the first sentence
        common: dict[str, Any] = {
            "dtype": spec.precision,
            "threads": spec.threads,
            "progress": spec.progress,
            "device": spec.device,
            "graphs": spec.settings["indextts_graphs"],
            "drop_encoders": spec.settings["drop_encoders"],
            "voice_cache": spec.settings["indextts_voice_cache"],
            "paced": spec.settings["indextts_pace"],
        }
        if spec.random_weights:
            engine = cls.random(spec.source, **common)
        else:
            engine = cls.from_folder(existing_folder(ENGINE, spec.source, MODEL), pack_cache=spec.cache, **common)
        if spec.reference_voice is not None and engine.info.clones_voices:
            engine.adopt_voice(spec.reference_voice())  # the default voice stays the same when the route changes
        engine.cache_own_voice()
        return engine

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        dtype: str = "auto",
        threads: int | None = None,
        progress: LoadProgress | None = None,
        drop_encoders: bool = False,
        pack_cache: Path | None = None,
        **where: Any,
    ) -> "IndexTTSEngine":
        """Load a folder in the published layout, on the thread that will use the engine.

        Args:
            dtype: one of `PRECISIONS`, for the linear layers of language model and flow; all else is float32. "auto" is
                fp32: the effect of less precision on trained speech has not been evaluated.
            threads: torch's CPU threads; None keeps torch's own choice.
            progress: called with the part of the weights that is loaded, 0 to 1.
            drop_encoders: read the encoders of recordings again for each use instead of keeping them in memory.
            pack_cache: folder where the packed weights of the language model are saved for the next start; None packs
                them at every start.
            where: other arguments of `Placement.of`.

        Raises:
            CheckpointError: a file is missing, unreadable or not as expected.
        """
        set_threads(threads)
        checkpoint = read_checkpoint(folder)
        front_end = FrontEnd.load(folder, checkpoint.config)
        name = f"IndexTTS {checkpoint.config.variant.value}"
        reload = partial(read_checkpoint, folder) if drop_encoders else None
        on, packed = Placement.of(dtype, **where), packed_voice(folder, checkpoint.fingerprint)
        return cls(checkpoint, front_end, name, ChunkPlan(), progress, reload, on, pack_cache, packed)._warmed_up(on)

    @classmethod
    def random(
        cls,
        size: str,
        *,
        seed: int = 0,
        dtype: str = "auto",
        threads: int | None = None,
        progress: LoadProgress | None = None,
        drop_encoders: bool = False,
        **where: Any,
    ) -> "IndexTTSEngine":
        """An untrained model of one of `sizes.size_names`, for tests and benchmarks; the rest as in `from_folder`.

        Raises:
            CheckpointError: there is no such size.
        """
        if size not in sizes.size_names():
            raise CheckpointError(ENGINE, f"found size {size!r}, expected one of {', '.join(sizes.size_names())}")
        set_threads(threads)
        checkpoint = sizes.in_memory(size, seed)
        front_end = FrontEnd.of_bytes(checkpoint.config)
        reload = partial(sizes.in_memory, size, seed) if drop_encoders else None
        on, name = Placement.of(dtype, **where), f"{size}, random weights"
        return cls(checkpoint, front_end, name, ChunkPlan(), progress, reload, on)._warmed_up(on)

    @property
    def config(self) -> IndexTTSConfig:
        """Of the model, for measurements."""
        return self._config

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    @property
    def fingerprint(self) -> str:
        """Of the weights."""
        return self._fingerprint

    @property
    def batches(self) -> bool:
        """True: one pass over the weights serves all units."""
        return True

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """See `voice.prepare`; UnsupportedVoiceError if the checkpoint has one voice only."""
        if not self._info.clones_voices:
            raise UnsupportedVoiceError("this checkpoint of IndexTTS has one voice only: cloning needs the full model")
        return within(self._on_stream, prepare(self._encoder, self._acoustic, recording, self._fingerprint))

    def adopt_voice(self, recording: Recording) -> None:
        """Use this recording's voice for requests without one: IndexTTS has no voice of its own."""
        self._own_voice = complete(self.prepare_voice(recording))

    @torch.inference_mode()
    def cache_own_voice(self) -> None:
        """Compute the cached frames of the engine's own voice, if it has one, before a unit waits for them."""
        if self._own_voice is not None:
            served = self._config.served
            settings = AcousticSettings(0, self._times(served.flow_steps), served.guidance)
            self._voices.prepare(self._speakers.get(self._own_voice).prompt, self._plan.prompt_frames, settings)

    def start(self, request: SpeakRequest) -> IndexTTSState:
        """Start a unit, without model work.

        Raises:
            CallerError: no speakable text, or too much (field `text`, TOO_LARGE), an emotion clip
                that cannot be used (`emotion.clip.audio`).
        """
        voice = request.voice or self._own_voice
        if voice is None:
            raise UnsupportedVoiceError("IndexTTS speaks with a recording's voice only: name one")
        assert voice.fingerprint == self._fingerprint, "voices are prepared again for other weights"
        tokenized = self._front_end.tokenize(request.text)
        options, guidance, served = request.options, request.options.number("guidance"), self._config.served
        if request.emotion.clip and not self._info.clones_voices:
            raise UnsupportedVoiceError("this checkpoint of IndexTTS follows no clip: that needs the full model")
        with self._on_stream():
            times = self._times(options.integer("steps") or served.flow_steps)
            speaker, vocoder = self._speakers.get(voice), self._vocoder.initial_state()
        settings = AcousticSettings(
            seed=request.seed,
            times=times,
            guidance=served.guidance if guidance is None else max(0.0, guidance - 1.0),
            duration_factor=1.0 / (options.speed or 1.0),
        )
        plan = self._pace.plan_of(settings, speaker.prompt) if self._pace else self._plan
        return IndexTTSState(
            request=request,
            tokenized=tokenized,
            speaker=speaker,
            clip=self._clips.get(request.emotion.clip) if request.emotion.clip else None,
            plan=streaming.WHOLE if request.whole else plan,
            settings=settings,
            min_codes=self._budget.min_codes(options, settings.duration_factor),
            max_codes=self._budget.max_codes(len(tokenized.ids), options, settings.duration_factor),
            vocoder=vocoder,
        )

    def held_bytes(self, state: IndexTTSState) -> int:
        """Of keys and values, and of the vocoder. Slots are there anyway."""
        kept, decoding = state_bytes(state.vocoder), state.decoding
        return kept + (decoding.held_bytes if isinstance(decoding, NativeDecoding) else 0)

    @torch.inference_mode()
    def step(self, states: Sequence[IndexTTSState]) -> list[Step]:
        """Generate codes, in one batch, for the units that have too few for a chunk; then synthesize one unit's chunk.

        Only one, because a solve takes much longer than generating its codes, and audio of a step is returned at its
        end.
        """
        assert not any(state.done for state in states), "a unit is not stepped after its end"
        clock = StageClock(self._acoustic.device)
        with self._on_stream():
            with clock.stage("gpt_gen_time"):
                encoding = self._begin([state for state in states if state.decoding is None])
                begun = [state for state in states if state.decoding is not None]
                self._generate([state for state in begun if not self._has_codes(state)])
            self._voices.advance(begun, clock)
            if not begun and not encoding:
                time.sleep(NO_ROOM_S)
            chosen = self._next_to_synthesize(begun)
            audio = None if chosen is None else self._synthesize(chosen, clock)
        stage_ms = clock.stage_ms()
        return [
            Step(
                pcm=audio if state is chosen else None,
                done=state.done,
                cut=state.done and state.cut,
                stage_ms=stage_ms,
                waits=state.decoding is None and not state.needs_clip,
            )
            for state in states
        ]

    def _has_codes(self, state: IndexTTSState) -> bool:
        """Whether the unit has enough codes for a chunk, or all its codes."""
        return state.ended or state.pending >= self._plan_codes(state)

    def _next_to_synthesize(self, states: Sequence[IndexTTSState]) -> IndexTTSState | None:
        """Of the ready units, one without audio so far; otherwise the one that has waited longest."""
        ready = [state for state in states if self._has_codes(state) and not self._voices.lacks(state)]
        if not ready:
            return None
        chosen = max(ready, key=lambda state: (not state.has_audio, state.waited_steps))
        for state in ready:
            state.waited_steps = 0 if state is chosen else state.waited_steps + 1
        return chosen

    def _warmed_up(self, on: Placement) -> "IndexTTSEngine":
        rate_hz = self._info.sample_rate_hz
        noise = 0.1 * np.random.default_rng(0).standard_normal(rate_hz).astype(np.float32)
        options = SynthesisOptions(parameters={"steps": 1, "max_audio_ms": 600})
        voice = self._own_voice or complete(self.prepare_voice(Recording(noise, rate_hz)))
        request = SpeakRequest("a", seed=0, voice=voice, options=options, whole=True)
        warm_up(self, request)
        if on.paced and self._acoustic.voices is not None:
            state = self.start(request)
            speed = measured(state, self._acoustic.work, partial(self.step, [state]))
            self._pace = Pace(self._plan, self._acoustic.work, speed, Rates.of(self._config), on.voice_cache)
        return self

    # ---- codes

    def _begin(self, states: Sequence[IndexTTSState]) -> bool:
        """Prefill units, except those whose clip is not encoded yet; do a piece of that work for one of them, and
        return whether there is one."""
        waiting = None
        for state in states:
            if state.needs_clip:
                waiting = waiting or state.clip
            else:
                self._prefill(state)
        if waiting is not None:
            self._clips.advance(waiting)
        return waiting is not None

    def _prefill(self, state: IndexTTSState) -> None:
        tokenized, speaker, clip = state.tokenized, state.speaker, state.clip
        assert clip is None or clip.vector is not None, "its clip is encoded before a unit is prefilled"
        emotion = vector_of(state.request.emotion, clip.vector if clip else None, speaker.emotion, speaker.emotion_rows)
        prefix = self._prefixes.prefix(tokenized.ids, speaker.rows, emotion, tokenized.language)
        shared, served = self._prefixes.shared_rows(speaker.rows), self._config.served
        sampling = Sampling(temperature=served.temperature, penalty=served.repetition_penalty)
        state.decoding = self._gpt.begin(prefix, state.max_codes, sampling, state.request.seed, state.min_codes, shared)
        if state.decoding is not None:  # on a GPU a unit may have to wait for room
            state.acoustic = streaming.start(speaker.prompt, state.settings, state.plan)

    def _generate(self, states: Sequence[IndexTTSState]) -> None:
        """Generate codes for all, as many as the unit that is closest to its next chunk needs."""
        if not states:
            return
        count = min(CODES_PER_STEP, *(self._plan_codes(state) - state.pending for state in states))
        units = [state.decoding for state in states if state.decoding is not None]
        for state, unit, new in zip(states, units, self._gpt.generate(units, count), strict=True):
            state.codes.append(new.codes)
            state.hidden.append(new.hidden)
            state.all_codes.extend(new.codes.tolist())
            free = self._info.trained and unit.code_count >= state.min_codes
            repeating = free and repeats(state.all_codes, self._budget.codes_per_s())
            state.ended = unit.ended or repeating
            state.cut = repeating or unit.code_count >= state.max_codes

    def _plan_codes(self, state: IndexTTSState) -> int:
        assert state.acoustic is not None, "prefill sets it"
        return state.plan.codes(state.acoustic.chunks, self._acoustic.features_per_code)

    # ---- audio

    def _synthesize(self, state: IndexTTSState, clock: StageClock) -> Samples | None:
        """The audio of the pending codes."""
        assert state.acoustic is not None, "prefill sets it"
        codes, hidden = state.take_codes()
        codes = send(codes, self._acoustic.device)
        with clock.stage("s2mel_time"):
            latent = hidden if self._config.variant is Variant.V2 else None
            mel, state.acoustic = streaming.extend(self._acoustic, state.acoustic, codes, latent, state.ended)
        with clock.stage("bigvgan_time"):
            following = state.acoustic.provisional
            final, pending, state.vocoder = self._vocoder.extend(mel, following, state.vocoder, state.ended)
            samples = fetch(torch.cat((final, pending)))
        audio = state.crossfader.join(samples[: len(final)], samples[len(final) :], state.ended)
        return audio if len(audio) else None
