"""What all utterances of one stream are spoken with. No policy, no state of its own."""

from dataclasses import dataclass, field

from intone.server.events import StreamSettings
from intone.server.fillers import Chooser
from intone.server.outbox import Outbox
from intone.server.pacing import Playback
from intone.server.services import Services


@dataclass(frozen=True, slots=True)
class Stage:
    """Settings and surroundings of a stream; `chooser` remembers which fillers were heard lately."""

    settings: StreamSettings
    services: Services
    outbox: Outbox
    playback: Playback
    chooser: Chooser = field(default_factory=Chooser)
