"""VoxCPM's entry in the registry."""

from intone.server.engines.base import EngineEntry, EngineSetting

ENTRY = EngineEntry(
    name="voxcpm",
    engine="intone.server.engines.voxcpm.engine:VoxCPMEngine",
    settings=(
        EngineSetting(
            "voxcpm",
            "",
            "checkpoint folder of VoxCPM 0.5B, 1.5 or 2; `nano` is the packaged voice, where there is one (`./nano` a "
            "folder); with --random-weights a size",
            path=True,
        ),
        EngineSetting("voxcpm_lora", "", "LoRA folder to merge into VoxCPM", path=True),
        EngineSetting("voxcpm_graphs", True, "on CUDA, capture the steps of VoxCPM as graphs; without, for debugging"),
    ),
    unasked="intone.server.engines.voxcpm.bundled_voice:loads_by_default",
    better="intone.server.engines.voxcpm.bundled_voice:better_engines",
    random_weights=True,
    cpu_precision="int8",
    devices=("cpu", "cuda"),
    examples=(
        ("--voxcpm ~/models/VoxCPM1.5", "VoxCPM from its published folder"),
        ("--voxcpm nano --random-weights", "an untrained VoxCPM, to try and to measure"),
    ),
)
