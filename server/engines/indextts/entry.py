"""IndexTTS's entry in the registry."""

from intone.server.engines.base import EngineEntry, EngineSetting
from intone.server.storage.hub import HubModel

MODEL = HubModel(
    files=(
        "config.yaml",
        "gpt.*",
        "s2mel.*",
        "codec.*",
        "feat1.*",
        "feat2.*",
        "wav2vec2bert_stats.*",
        "bpe.model",
        "*.tiktoken",
    ),
    names=("IndexTeam/IndexTTS-2.5", "IndexTeam/IndexTTS-2"),
    parts="intone.server.engines.indextts.checkpoint.parts:missing_parts",
)

ENTRY = EngineEntry(
    name="indextts",
    engine="intone.server.engines.indextts.engine:IndexTTSEngine",
    settings=(
        EngineSetting(
            "indextts",
            "",
            "checkpoint of IndexTTS 2 or 2.5: a folder, or a repository of the Hugging Face hub such as "
            "IndexTeam/IndexTTS-2.5; with --random-weights a size",
            path=True,
            hub=MODEL,
        ),
        EngineSetting(
            "drop_encoders",
            False,
            "do not keep IndexTTS's encoders of recordings in memory: frees 2.3 GB in 2.5, 3 GB in 2. Creating a voice "
            "or following a new emotion clip then reads them from the folder first, which takes some seconds",
        ),
        EngineSetting(
            "indextts_graphs", True, "on CUDA, capture the steps of IndexTTS as graphs; without, for debugging"
        ),
        EngineSetting(
            "indextts_pace",
            True,
            "on the CPU, choose the sizes of IndexTTS's chunks by its speed, measured at each start: so that playback "
            "does not wait where the machine is fast enough, and with little work where it is not. Without, they are "
            "the same at all starts, and so is the audio of a seed",
        ),
        EngineSetting(
            "indextts_voice_cache",
            False,
            "on the CPU, compute what IndexTTS's flow makes of a recording once for each voice, not in every chunk: "
            "the first sound comes three times sooner. Takes 11 MB of memory for each step of each voice. An "
            "approximation, whose effect on trained speech has not been evaluated",
        ),
    ),
    random_weights=True,
    cpu_precision="fp32",
    max_step_s=600.0,  # a whole unit in one step takes minutes on two cores
    devices=("cpu", "cuda"),
    examples=(("--voxcpm DIR --indextts DIR", "plain speech and strong emotion, each by its engine"),),
)
