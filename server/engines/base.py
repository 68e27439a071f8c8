"""The contract between the server and an engine. Whoever implements it knows nothing of streams, clients or gRPC."""

from collections.abc import Sequence
from typing import Any, Protocol

from intone.server.domain import EngineInfo, PreparedVoice, Recording, SpeakRequest, Step

State = Any
"""What an engine remembers of one unit: its own dataclass, opaque to everyone else. Dropping it cancels the unit."""


class Engine(Protocol):
    """A speech model, loaded. All methods run on one thread, that of its worker.

    A state is a value: everything that belongs to one unit is in it, so units may be stepped in any order and company,
    and the audio of a unit is the same alone and in a batch.
    """

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights: two engines that share it can share prepared voices."""

    @property
    def batches(self) -> bool:
        """Whether stepping units together is faster than one after the other; if not, they are stepped alone, those
        that have not been heard yet first."""

    def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """Turn a recording into what `start` needs.

        Raises:
            CallerError: this engine cannot use this recording; the message says why (field `transcript` or `audio`).
        """

    def start(self, request: SpeakRequest) -> State:
        """Begin a unit. Cheap: the heavy work belongs in the first step.

        Raises:
            CallerError: the text has nothing in it that this engine can speak (field `text`).
        """

    def step(self, states: Sequence[State]) -> list[Step]:
        """Advance every state by one step, batching what can be batched; results in the same order.

        One step is the unit of scheduling and of cancellation: keep it short.
        """
