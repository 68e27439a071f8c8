"""The starter engine: `hibari-tts`, a small English model that is installed as a package."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from intone.server.audio.encoding import MIN_AUDIBLE_PEAK, fade
from intone.server.domain import EngineInfo, Recording, Samples, SpeakRequest, Step
from intone.server.engines import parameters
from intone.server.engines.base import LoadSpec
from intone.server.engines.english_text import plain_text, readable
from intone.server.engines.pieces import VoicePieces
from intone.server.engines.starter.entry import ENTRY
from intone.server.errors import CallerError, CheckpointError, Reason

_CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")
_PIECE_PHONEMES = 100  # per step, about 7 s of speech, if the sentence has clauses to be cut at
_MAX_PIECE_PHONEMES = 300  # longer clauses are cut between words; the model is good up to 400
_RATE_HZ = 24_000
_LEAD_MS = 40  # silence kept at the beginning; the model produces 250 to 320 ms
# Silence kept at the end; the model produces about 400 ms, and pauses for 170 to 350 ms inside a sentence.
_SENTENCE_TAIL_MS, _CLAUSE_TAIL_MS = 350, 160
_FADE_MS = 5


@dataclass(slots=True)
class StarterState:
    """State of one unit: sentences not yet phonemized, and pieces of phonemes not yet spoken."""

    sentences: list[str]
    seed: int
    max_samples: int | None
    speed: float
    pieces: list[str] = field(default_factory=list)
    spoken_pieces: int = 0
    spoken_samples: int = 0


REFERENCE_TEXT = "The evening was warm and quiet, and people sat outside and talked until dark."
"""Text of the recording that `reference_voice` makes."""


class StarterEngine:
    """Implements `intone.server.engines.base.Engine`: English, one voice, no emotion, RTF 0.01 on one CPU core.

    A step speaks one sentence, or some clauses of a long one.
    """

    def __init__(self, model: Any, threads: int) -> None:
        self._model = model
        self._info = EngineInfo(
            name=ENTRY.name,
            model="hibari-tts 0.2.1 (heart)",
            sample_rate_hz=_RATE_HZ,
            languages=("en",),
            trained=True,
            clones_voices=False,
            voices_emotion=False,
            device=f"cpu, {threads} thread" + ("s" if threads > 1 else ""),
            changes_speed=True,
            parameters=(parameters.MAX_AUDIO_MS,),
            alphabets=("ipa",),
            own_voice=ENTRY.voices[0],
        )

    @classmethod
    def load(cls, spec: LoadSpec) -> "StarterEngine":
        """Load the packaged voice; of the settings only `threads` matters.

        Raises:
            CheckpointError: the package is not installed.
        """
        return cls.packaged(spec.threads)

    @classmethod
    def packaged(cls, threads: int = 1) -> "StarterEngine":
        """Load the model and its lexicon, and warm them up.

        Raises:
            CheckpointError: the package is not installed.
        """
        try:
            from hibari import Hibari  # optional, and it imports onnxruntime
        except ImportError as error:
            raise CheckpointError(ENTRY.name, "hibari-tts is missing: pip install 'intone[starter]'") from error
        model = Hibari(voice="heart")
        model.sess = _session(model.model_path, threads)
        model("Ready, qwyzz.", seed=0)  # the second word is in no lexicon: it loads the network for such words
        return cls(model, threads)

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    @property
    def fingerprint(self) -> str:
        """Identifies the weights, which come with the package."""
        return "hibari-tts-0.2.1-heart"

    @property
    def batches(self) -> bool:
        """The model takes one sentence at a time."""
        return False

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """Always refuses: the model has one voice."""
        raise CallerError(
            "audio", "the starter engine has one voice and cannot clone another", Reason.CLONING_UNAVAILABLE
        )

    def start(self, request: SpeakRequest) -> StarterState:
        """Begin a unit.

        Raises:
            CallerError: no Latin letter and no digit in the text.
        """
        if not any(readable(character) for character in request.text):
            raise CallerError(
                "text",
                "the starter engine reads English; there is no Latin letter or digit in this text",
                Reason.TEXT_UNSPEAKABLE,
            )
        limit_ms = request.options.number("max_audio_ms")
        max_samples = None if limit_ms is None else int(limit_ms * _RATE_HZ / 1000)
        return StarterState(
            self._model.split_sentences(plain_text(request.text)),
            request.seed,
            max_samples,
            request.options.speed or 1.0,
        )

    def step(self, states: Sequence[StarterState]) -> list[Step]:
        """Speak the next piece of each unit. The noise depends on (seed, piece) only, so it is batch-invariant."""
        return [self._step(state) for state in states]

    def held_bytes(self, state: StarterState) -> int:
        """Of phonemes: next to nothing."""
        return 0

    def _step(self, state: StarterState) -> Step:
        began_s = time.perf_counter()
        while not state.pieces and state.sentences:
            state.pieces = _pieces(self._model.g2p(state.sentences.pop(0), normalize_text=False))
        if not state.pieces:
            return Step(None, done=True)
        phonemes = state.pieces.pop(0)
        noise = np.random.default_rng([state.seed, state.spoken_pieces])
        spoken = self._model.from_ids(self._model.ids(phonemes), speed=state.speed, rng=noise)
        pcm = _trim(spoken, ends_sentence=phonemes[-1] not in ",;:—")
        state.spoken_pieces += 1
        pcm, cut = _cut(pcm, state)
        state.spoken_samples += len(pcm)
        done = cut or not (state.pieces or state.sentences)
        elapsed_ms = 1000 * (time.perf_counter() - began_s)
        return Step(pcm, done=done, cut=cut, stage_ms={"synthesis": elapsed_ms})


def _session(path: str, threads: int) -> Any:
    """The model for several threads. Idle ones sleep: onnxruntime's default, to spin, makes each sentence several times
    slower where another process works on the same cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def reference_voice(spec: LoadSpec) -> Recording:
    """A recording of this voice, for engines that have no voice of their own.

    Raises:
        CheckpointError: the package is not installed.
    """
    starter = StarterEngine.load(spec)
    state = starter.start(SpeakRequest(REFERENCE_TEXT, seed=0))
    pieces: list[Step] = []
    while not pieces or not pieces[-1].done:
        pieces += starter.step([state])
    samples = np.concatenate([piece.pcm for piece in pieces if piece.pcm is not None])
    return Recording(samples, starter.info.sample_rate_hz, REFERENCE_TEXT)


def _pieces(phonemes: str) -> list[str]:
    """Cut the phonemes of a sentence into pieces of one step each: after clauses, very long clauses between words."""
    parts = [part for clause in _CLAUSE_END.split(phonemes) for part in _words(clause)]
    pieces: list[str] = []
    for part in parts:
        if pieces and len(pieces[-1]) + 1 + len(part) <= _PIECE_PHONEMES:
            pieces[-1] += " " + part
        else:
            pieces.append(part)
    return [piece for piece in pieces if any(character.isalpha() for character in piece)]


def _words(clause: str) -> list[str]:
    """Cut a clause between words into parts of at most `_MAX_PIECE_PHONEMES`."""
    parts: list[str] = []
    while len(clause) > _MAX_PIECE_PHONEMES:
        cut = clause.rfind(" ", 1, _MAX_PIECE_PHONEMES)
        cut = cut if cut > 0 else _MAX_PIECE_PHONEMES
        parts.append(clause[:cut])
        clause = clause[cut:].lstrip()
    return [*parts, clause]


def _trim(pcm: Samples, ends_sentence: bool) -> Samples:
    """Shorten the silence at both ends, for natural pauses between pieces and an early first sound."""
    audible = np.flatnonzero(np.abs(pcm) >= MIN_AUDIBLE_PEAK)
    if len(audible) == 0:
        return pcm
    tail_ms = _SENTENCE_TAIL_MS if ends_sentence else _CLAUSE_TAIL_MS
    first = max(0, int(audible[0]) - _LEAD_MS * _RATE_HZ // 1000)
    last = int(audible[-1]) + 1 + tail_ms * _RATE_HZ // 1000
    edge = _FADE_MS * _RATE_HZ // 1000
    return fade(pcm[first:last], edge, edge)


def _cut(pcm: Samples, state: StarterState) -> tuple[Samples, bool]:
    """`pcm` cut at the unit's length limit, and whether it was cut."""
    if state.max_samples is None:
        return pcm, False
    room = state.max_samples - state.spoken_samples
    more = bool(state.pieces or state.sentences)
    if len(pcm) < room or (len(pcm) == room and not more):
        return pcm, False
    return fade(pcm[:room], out_samples=_FADE_MS * _RATE_HZ // 1000), True
