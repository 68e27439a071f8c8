"""VoxCPM's entry in the registry."""

from intone.server.engines.base import EngineEntry, EngineSetting
from intone.server.storage.hub import HubModel

MODEL = HubModel(
    files=(
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "pytorch_model.pth",
        "audiovae.safetensors",
        "audiovae.pth",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
    names=("openbmb/VoxCPM1.5", "openbmb/VoxCPM-0.5B", "openbmb/VoxCPM2"),
    words=("nano",),
)
LORA = HubModel(files=("lora_config.json", "lora_weights.*"))

ENTRY = EngineEntry(
    name="voxcpm",
    engine="intone.server.engines.voxcpm.engine:VoxCPMEngine",
    settings=(
        EngineSetting(
            "voxcpm",
            "",
            "checkpoint of VoxCPM 0.5B, 1.5 or 2: a folder, or a repository of the Hugging Face hub such as "
            "openbmb/VoxCPM1.5; `nano` is the packaged voice, where there is one (`./nano` a folder); with "
            "--random-weights a size",
            path=True,
            hub=MODEL,
        ),
        EngineSetting("voxcpm_lora", "", "LoRA folder or repository to merge into VoxCPM", path=True, hub=LORA),
        EngineSetting("voxcpm_graphs", True, "on CUDA, capture the steps of VoxCPM as graphs; without, for debugging"),
    ),
    unasked="intone.server.engines.voxcpm.bundled_voice:loads_by_default",
    better="intone.server.engines.voxcpm.bundled_voice:better_engines",
    random_weights=True,
    cpu_precision="int8",
    devices=("cpu", "cuda"),
    voices=("nano",),
    examples=(
        ("--voxcpm openbmb/VoxCPM1.5", "VoxCPM, downloaded once from the Hugging Face hub"),
        ("--voxcpm ~/models/VoxCPM1.5", "VoxCPM from its published folder"),
        ("--voxcpm nano --random-weights", "an untrained VoxCPM, to try and to measure"),
    ),
)
