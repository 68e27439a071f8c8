"""The contract between the server and an engine, and what a registry entry says of an engine before it is loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from intone.server.domain import EngineInfo, Recording, SpeakRequest, Step
from intone.server.engines.pieces import VoicePieces
from intone.server.storage.hub import HubModel

State = Any
"""What an engine keeps of one unit: a dataclass of its own, opaque to everyone else. Dropping it cancels the unit."""


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What to load, and where and how it is to run: the same for every engine.

    Attributes:
        source: checkpoint folder, or with `random_weights` the name of a size; empty for what the package contains.
        random_weights: build an untrained model of the size `source`.
        precision: one of `domain.PRECISIONS`.
        device: "cpu", "cuda" or "cuda:N"; checked against the entry's `devices`.
        threads: CPU threads, at least 1.
        cache: folder for files that make the next start faster; None keeps none.
        settings: the engine's own settings, each of `EngineEntry.settings` by name.
        reference_voice: makes a recording for an engine that has no voice of its own; None where no engine can.
        progress: called with the fraction that is loaded, 0 to 1, never decreasing; on the thread that loads.
    """

    source: str = ""
    random_weights: bool = False
    precision: str = "auto"
    device: str = "cpu"
    threads: int = 1
    cache: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    reference_voice: Callable[[], Recording] | None = None
    progress: Callable[[float], None] | None = None


class Engine(Protocol):
    """A speech model, loaded. All methods run on one thread, that of its worker.

    A state is a value: everything that belongs to one unit is in it. Units may be stepped in any order and in any
    batch; stepping is batch-invariant, bit for bit.
    """

    @classmethod
    def load(cls, spec: LoadSpec) -> "Engine":
        """Load the engine, on the thread that will use it, and warm it up.

        Raises:
            CheckpointError: the checkpoint cannot be used.
        """

    @property
    def info(self) -> EngineInfo:
        """What this engine is and can do; constant."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights: two engines that share it can share prepared voices."""

    @property
    def batches(self) -> bool:
        """Whether stepping units together is faster than one after the other. If not, they are stepped alone, units
        without audio so far first."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """Turn a recording into what `start` needs, in pieces.

        Units are stepped between two pieces, and wait for the piece that is running: a piece should take no longer than
        a step. What is left is dropped if nobody wants the voice any more.

        Raises:
            CallerError: this engine cannot use this recording; the message says why (field `transcript` or `audio`).
                Raised at once, or in a piece.
        """

    def start(self, request: SpeakRequest) -> State:
        """Begin a unit. Cheap: the heavy work belongs in the first step.

        Raises:
            UnsupportedVoiceError: it cannot speak with this voice; the server tries another engine.
            CallerError: it cannot speak this unit, which is left out (field `text`, or a field of the emotion such as
                `emotion.clip.audio`, which is reported under the message that set the emotion).
        """

    def step(self, states: Sequence[State]) -> list[Step]:
        """Advance every state by one step, batching what can be batched; results in the same order.

        A step is the unit of scheduling and of cancellation: keep it short. If it raises, the
        states are not used again.
        """

    def held_bytes(self, state: State) -> int:
        """Memory that a state keeps, in bytes, without what it shares with others; roughly. 0 for what is little."""


@dataclass(frozen=True, slots=True)
class EngineSetting:
    """A setting of one engine: a key of the TOML file and, with dashes, a flag. A str or a bool, as the default is.

    Attributes:
        path: whether it may be a path. A word without a separator is then a name, such as that of a size.
        hub: what it takes from a repository of the Hugging Face hub, whose name it may hold in place of a folder's
            path; None for a setting that cannot.
    """

    name: str
    default: str | bool
    help: str
    path: bool = False
    hub: HubModel | None = None


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine that can be loaded. References are "module:name", so that an entry costs no import of its engine.

    Attributes:
        name: of the engine, in settings, on the wire and in metrics.
        engine: reference to the class, which implements `Engine`.
        settings: its own settings. The first one has the engine's name and says whether it is loaded and from where:
            a str is `LoadSpec.source`, empty for not; True loads what the package contains.
        unasked: reference to a function () → bool: whether to load the engine although its first setting is empty.
        better: reference to a function (`LoadSpec.source`, random_weights) → names of the engines that come before this
            one in the default order of preference, whatever the order of the registry; empty for none.
        random_weights: whether it can be built untrained.
        cpu_precision: what the precision "auto" is on a CPU with AVX2; empty for an engine without a choice of
            precisions.
        devices: kinds of device that it runs on: "cpu", "cuda".
        reference_voice: reference to a function (LoadSpec) → Recording that speaks for engines without a voice of
            their own; empty for an engine that does not.
        voices: names that its own voice may have, see `EngineInfo.own_voice`; which one is known once it is loaded.
        max_step_s: time after which a step counts as hung, and the engine's process is started again; far more than the
            longest step on a slow machine.
        examples: of command lines, for `--help`: flags, and what they do.
    """

    name: str
    engine: str
    settings: tuple[EngineSetting, ...]
    unasked: str = ""
    better: str = ""
    random_weights: bool = False
    cpu_precision: str = ""
    devices: tuple[str, ...] = ("cpu",)
    reference_voice: str = ""
    voices: tuple[str, ...] = ()
    max_step_s: float = 120.0
    examples: tuple[tuple[str, str], ...] = ()

    def load(self, spec: LoadSpec) -> Engine:
        """Import the engine and load it.

        Raises:
            CheckpointError: the checkpoint cannot be used.
        """
        engine: Engine = resolve(self.engine).load(spec)
        return engine


def resolve(reference: str) -> Any:
    """The object that "module:name" refers to; imports the module."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
