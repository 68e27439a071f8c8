"""How many multiplications a step of the flow takes."""

from dataclasses import dataclass

from intone.server.engines.indextts.s2mel.dit import DiT


@dataclass(frozen=True, slots=True)
class FlowWork:
    """Multiplications of one evaluation of the flow's field, for one sequence.

    Attributes:
        frame: of each frame that is computed.
        new_frame: of each new one in addition.
        pair: of each computed frame and each that it attends to.
        context_frames: as in `DiT`.
    """

    frame: int
    new_frame: int
    pair: int
    context_frames: int

    @classmethod
    def of(cls, dit: DiT) -> "FlowWork":
        """From the sizes of a field."""
        parts = [
            part.weight.numel()
            for layer in dit.layers
            for part in (layer.queries, layer.keys_values, layer.out, layer.gate_up, layer.down, layer.skip)
            if part is not None
        ]
        tail = sum(layer.conv.numel() + layer.out[0].numel() for layer in dit.wavenet.layers)
        tail += dit.tail_in.weight.numel() + dit.tail_out.weight.numel()
        return cls(sum(parts), tail, 2 * len(dit.layers) * dit.hidden, dit.context_frames)

    def of_solve(self, known: int, new: int, cached: int = 0) -> int:
        """Of known and new frames, of which the first `cached` are not computed."""
        computed = known + new - cached
        ends = new + min(known, self.context_frames) // 2
        return computed * self.frame + ends * self.new_frame + computed * (known + new) * self.pair
