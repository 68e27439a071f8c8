"""The engine of IndexTTS 2 and 2.5: text and emotion → semantic codes → mel → audio, streamed in chunks, on the CPU.

The first audio is returned after a dozen codes: the flow solves their frames as a continuation of the recording's
frames and of those already emitted, and the vocoder continues from its own state.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intone.server.domain import EngineInfo, PreparedVoice, Recording, Samples, SpeakRequest, Step, SynthesisOptions
from intone.server.engines.base import LoadSpec
from intone.server.engines.common import describe_device, set_threads, warm_up
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import ENGINE, Variant
from intone.server.engines.indextts.checkpoint.weights import Checkpoint, read_checkpoint
from intone.server.engines.indextts.entry import ENTRY
from intone.server.engines.indextts.gpt.code_budget import CodeBudget, repeats
from intone.server.engines.indextts.gpt.native_gpt import NativeGPT
from intone.server.engines.indextts.gpt.prefixes import Prefixes
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import (
    DEFAULT_GUIDANCE,
    DEFAULT_STEPS,
    AcousticModel,
    AcousticSettings,
)
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.engines.indextts.text.front_end import LANGUAGES, FrontEnd
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.voice.emotion import balanced, blended, merged
from intone.server.engines.indextts.voice.emotion_clips import EmotionClipCache
from intone.server.engines.indextts.voice.encoders import Encoders, ReloadCheckpoint
from intone.server.engines.indextts.voice.prepared_voice import prepare, speaker_of
from intone.server.engines.precision import precision_on
from intone.server.engines.weights import LoadProgress, Weights
from intone.server.errors import CheckpointError, UnsupportedVoiceError
from intone.server.nn.stage_clock import StageClock
from intone.server.text.pronunciation.marks import spelled

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
        dtype: str = "auto",
    ) -> None:
        """`reload` as for `Encoders`, `dtype` as for `from_folder`."""
        cpu = torch.device("cpu")
        packed = precision_on(cpu, dtype, ENTRY.cpu_precision, ENGINE).name

        config = checkpoint.config
        self._config, self._front_end, self._plan = config, front_end, plan
        self._fingerprint = checkpoint.fingerprint
        with torch.inference_mode():
            gpt = Weights(checkpoint.gpt, progress=progress)
            self._prefixes, self._gpt = Prefixes(config, gpt), NativeGPT(config, gpt, packed=packed)
            self._acoustic = AcousticModel(config, Weights(checkpoint.s2mel), Weights(checkpoint.codec), packed)
            self._vocoder = BigVGAN(config.vocoder, Weights(checkpoint.vocoder))
        self._encoder = Encoders(checkpoint, reload)
        self._clips = EmotionClipCache(self._encoder)
        self._budget = CodeBudget(config, self._gpt.max_codes())
        self._times = cache(self._acoustic.time_table)
        self._own_voice: PreparedVoice | None = None
        self._info = EngineInfo(
            name=ENGINE,
            model=name,
            sample_rate_hz=config.vocoder.sample_rate_hz,
            languages=LANGUAGES[config.variant],
            trained=config.trained,
            clones_voices=True,
            voices_emotion=True,
            device=describe_device(cpu, packed),
            changes_speed=True,
        )
        if progress:
            progress(1.0)

    @classmethod
    def load(cls, spec: LoadSpec) -> "IndexTTSEngine":
        """Load what the settings name: a folder or an untrained size.

        Raises:
            CheckpointError: as for `from_folder` and `random`.
        """
        common: dict[str, Any] = {
            "dtype": spec.precision,
            "threads": spec.threads,
            "progress": spec.progress,
            "drop_encoders": spec.settings["drop_encoders"],
        }
        if spec.random_weights:
            engine = cls.random(spec.source, **common)
        else:
            engine = cls.from_folder(Path(spec.source).expanduser(), **common)
        if spec.reference_voice is not None:  # so that the default voice stays the same when the route changes
            engine.adopt_voice(spec.reference_voice())
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
    ) -> "IndexTTSEngine":
        """Load a folder in the published layout, on the thread that will use the engine.

        Args:
            dtype: one of `PRECISIONS`, for the linear layers of language model and flow; all else is float32. "auto" is
                fp32: the effect of less precision on trained speech has not been evaluated.
            threads: torch's CPU threads; None keeps torch's own choice.
            progress: called with the part of the weights that is loaded, 0 to 1.
            drop_encoders: read the encoders of recordings again for each use instead of keeping them in memory.

        Raises:
            CheckpointError: a file is missing, unreadable or not as expected.
        """
        set_threads(threads)
        checkpoint = read_checkpoint(folder)
        front_end = FrontEnd.load(folder, checkpoint.config)
        name = f"IndexTTS {checkpoint.config.variant.value}"
        reload = partial(read_checkpoint, folder) if drop_encoders else None
        return cls(checkpoint, front_end, name, ChunkPlan(), progress, reload, dtype)._warmed_up()

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
        return cls(checkpoint, front_end, f"{size}, random weights", ChunkPlan(), progress, reload, dtype)._warmed_up()

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

    def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """See `voice.prepare`."""
        return prepare(self._encoder, self._acoustic, recording, self._fingerprint)

    def adopt_voice(self, recording: Recording) -> None:
        """Use this recording's voice for requests without one: IndexTTS has no voice of its own."""
        self._own_voice = self.prepare_voice(recording)

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
        tokenized = self._front_end.tokenize(spelled(request.text))
        options = request.options
        settings = AcousticSettings(
            seed=request.seed,
            times=self._times(options.steps or DEFAULT_STEPS),
            guidance=DEFAULT_GUIDANCE if options.guidance is None else max(0.0, options.guidance - 1.0),
            duration_factor=1.0 / (options.speed or 1.0),
        )
        return IndexTTSState(
            request=request,
            tokenized=tokenized,
            speaker=speaker_of(voice, self._acoustic.device),
            clip=self._clips.get(request.emotion.clip) if request.emotion.clip else None,
            plan=streaming.WHOLE if request.whole else self._plan,
            settings=settings,
            min_codes=self._budget.min_codes(options, settings.duration_factor),
            max_codes=self._budget.max_codes(len(tokenized.ids), options, settings.duration_factor),
            vocoder=self._vocoder.initial_state(),
        )

    @torch.inference_mode()
    def step(self, states: Sequence[IndexTTSState]) -> list[Step]:
        """Generate codes, in one batch, for the units that have too few for a chunk; then synthesize one unit's chunk.

        Only one, because a solve takes much longer than generating its codes, and audio of a step is returned at its
        end.
        """
        assert not any(state.done for state in states), "a unit is not stepped after its end"
        clock = StageClock(self._acoustic.device)
        with clock.stage("gpt_gen_time"):
            for state in states:
                if state.decoding is None:
                    self._prefill(state)
            self._generate([state for state in states if not self._ready(state)])
        chosen = self._next_to_synthesize(states)
        audio = None if chosen is None else self._synthesize(chosen, clock)
        stage_ms = clock.stage_ms()
        return [
            Step(
                pcm=audio if state is chosen else None,
                done=state.done,
                cut=state.done and state.cut,
                stage_ms=stage_ms,
            )
            for state in states
        ]

    def _ready(self, state: IndexTTSState) -> bool:
        """Whether the unit has enough codes for a chunk, or all its codes."""
        return state.ended or state.pending >= self._plan_codes(state)

    def _next_to_synthesize(self, states: Sequence[IndexTTSState]) -> IndexTTSState | None:
        """Of the ready units, one without audio so far; otherwise the one that has waited longest."""
        ready = [state for state in states if self._ready(state)]
        if not ready:
            return None
        chosen = max(ready, key=lambda state: (not state.has_audio, state.waited_steps))
        for state in ready:
            state.waited_steps = 0 if state is chosen else state.waited_steps + 1
        return chosen

    def _warmed_up(self) -> "IndexTTSEngine":
        rate_hz = self._info.sample_rate_hz
        noise = 0.1 * np.random.default_rng(0).standard_normal(rate_hz).astype(np.float32)
        options = SynthesisOptions(steps=1, max_audio_ms=200)
        voice = self.prepare_voice(Recording(noise, rate_hz))
        warm_up(self, SpeakRequest("a", seed=0, voice=voice, options=options))
        return self

    # ---- codes

    def _prefill(self, state: IndexTTSState) -> None:
        tokenized, speaker = state.tokenized, state.speaker
        prefix = self._prefixes.prefix(tokenized.ids, speaker.rows, self._emotion(state), tokenized.language)
        state.decoding = self._gpt.begin(prefix, state.max_codes, Sampling(), state.request.seed, state.min_codes)
        state.acoustic = streaming.start(speaker.prompt, state.settings, state.plan)

    def _emotion(self, state: IndexTTSState) -> Tensor:
        """The emotion vector of the unit: `[D]`."""
        emotion, speaker = state.request.emotion, state.speaker
        if state.clip is not None:
            return merged(speaker.emotion, self._clips.vector(state.clip), emotion.intensity)
        if not any(emotion.weights):
            return speaker.emotion
        return blended(speaker.emotion, speaker.emotion_rows, balanced(emotion.weights))

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
        with clock.stage("s2mel_time"):
            latent = hidden if self._config.variant is Variant.V2 else None
            mel, state.acoustic = streaming.extend(self._acoustic, state.acoustic, codes, latent, state.ended)
        with clock.stage("bigvgan_time"):
            final, state.vocoder = self._vocoder.decode(mel.unsqueeze(0), state.vocoder, last=state.ended)
            provisional = np.zeros(0, np.float32)
            if not state.ended:
                right = state.acoustic.provisional.unsqueeze(0)
                provisional = self._vocoder.peek(right, state.vocoder)[0].numpy()
        audio = state.crossfader.join(final[0].numpy(), provisional, state.ended)
        return audio if len(audio) else None
