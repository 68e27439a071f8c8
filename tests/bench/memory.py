"""Memory of a server with one model, and how fast it speaks, by precision.

    python tests/bench/memory.py --voxcpm FOLDER [--dtype int8,bf16,fp32] [--audio-s 4] [--anyway] [-- FLAGS]
    python tests/bench/memory.py --indextts FOLDER …

For each precision it starts a server without packed weights, voices of the package and fillers, speaks one sentence,
and prints Markdown: the memory of the server and its processes after loading and after speaking, the most that its
engine has had while loading and speaking, the first sound as the server measures it, and RTF. Flags after `--` go to
the server. Memory can be measured on a busy machine; times cannot, so the script refuses unless --anyway is given.

`--write SIZE` first writes random weights of a published size to the folder, in the published layout. A server with
--random-weights would not do: what it made the weights from is not all given back.
"""

import argparse
import asyncio
import base64
import itertools
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from conditions import command_line, conditions, module_of_tests, refuse_if_busy
from process_tree import descendants, only_child, resources

from intone.client import AsyncSpeechClient, SpeechSettings, StreamSettings
from intone.client.tools.console import Console
from intone.client.tools.load_generator import Load, run_load
from intone.client.tools.local_server import local_server
from intone.server.engines.indextts.checkpoint import sizes as indextts_sizes
from intone.server.engines.indextts.text.front_end import SPECIAL_TOKENS

ALONE = ("--no-starter", "--no-fillers", "--no-match-loudness", "--pack-cache", "off")
TEXT = "The ferry leaves at nine from pier four."
START_TIMEOUT_S = 900.0
GB_PER_MIB = 2**20 / 1e9


@dataclass(frozen=True)
class Figures:
    """Of a server in one precision. Memory in GB, proportional set size; `peak` is resident, of the largest process."""

    dtype: str
    loaded_gb: float
    spoken_gb: float
    peak_gb: float
    first_ms: float
    rtf: float


def measure(engine: str, folder: Path, dtype: str, asked: argparse.Namespace) -> Figures:
    """Start a server, speak, look at its memory."""
    flags = (f"--{engine}", str(folder), "--dtype", dtype, *ALONE, *asked.flags)
    parameters = {"max_audio_ms": 1000 * asked.audio_s, "steps": asked.steps}
    speech = SpeechSettings(engine=engine, seed=1, filler="off", engine_parameters=parameters)
    settings = StreamSettings(defaults=speech, max_lead_ms=600_000)
    load = Load(iterations=1, texts=(TEXT,), settings=settings, warm_up=asked.warm_up)
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="intone-bench-") as scratch,
        local_server(flags, Path(scratch), console, start_timeout_s=START_TIMEOUT_S) as target,
    ):
        server = only_child()
        loaded_gb = resources(server).memory_mib * GB_PER_MIB
        result = asyncio.run(run_load(lambda: AsyncSpeechClient(target), load, time.monotonic, lambda: None))
        if result.errors:
            raise SystemExit(f"the sentence failed: {result.errors[0]}")
        spoken_gb = resources(server).memory_mib * GB_PER_MIB
        peak_gb = max(map(peak, descendants(server)))
    audio_s = sum(latency.audio_ms for latency in result.latencies) / 1000
    return Figures(dtype, loaded_gb, spoken_gb, peak_gb, result.server_ttfa_ms[0], result.wall_s / audio_s)


def peak(pid: int) -> float:
    """The most resident memory that a process has had, in GB."""
    lines = Path(f"/proc/{pid}/status").read_text("utf8").splitlines()
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:")), 0.0)


def write(engine: str, size: str, folder: Path) -> None:
    """Random weights of a published size."""
    if engine == "voxcpm":
        module_of_tests("support.voxcpm_tiny").random_checkpoint(size, folder, dtype=torch.bfloat16)
        return
    checkpoint = indextts_sizes.in_memory(size)
    files = module_of_tests("support.indextts_files")
    files.write_checkpoint(folder, checkpoint, indextts_sizes.documents(size))
    vocabulary = folder / checkpoint.config.tokenizer_file
    if vocabulary.suffix == ".tiktoken":
        tokens = [bytes(token) for length in (1, 2) for token in itertools.product(range(256), repeat=length)]
        ranks = enumerate(tokens[: checkpoint.config.gpt.text_tokens - SPECIAL_TOKENS])
        vocabulary.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in ranks), "ascii")
    else:
        with vocabulary.open("wb") as file:
            sizes = {"vocab_size": 30, "hard_vocab_limit": False, "minloglevel": 2}
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([TEXT]), model_writer=file, **sizes)


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--voxcpm", type=Path, metavar="FOLDER")
    model.add_argument("--indextts", type=Path, metavar="FOLDER")
    parser.add_argument("--write", metavar="SIZE", help="of VoxCPM 0.5b, 1.5, 2; of IndexTTS 2, 2.5; nano of both")
    parser.add_argument("--dtype", default="int8,bf16,fp32", help="default: %(default)s")
    parser.add_argument("--audio-s", type=float, default=4.0, help="length of the sentence; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="diffusion steps; default: %(default)s")
    parser.add_argument("--warm-up", type=int, default=0, help="sentences spoken before; default: %(default)s")
    parser.add_argument("flags", nargs="*", help="for intone-server, after --")
    asked = parser.parse_args()
    busy = refuse_if_busy(asked.anyway)
    engine, folder = ("voxcpm", asked.voxcpm) if asked.voxcpm else ("indextts", asked.indextts)
    if asked.write:
        write(engine, asked.write, folder)
    spoken = f"{asked.audio_s:g} s of audio, {asked.steps} steps"
    print(f"{engine} {asked.write or folder.name}, {spoken}, {os.cpu_count()} CPUs\n")
    print("| precision | loaded, GB | after speaking, GB | peak of its engine, GB | first sound, ms | RTF |")
    print("|---|---|---|---|---|---|", flush=True)
    for dtype in asked.dtype.split(","):
        row = measure(engine, folder, dtype, asked)
        memory = f"{row.loaded_gb:.2f} | {row.spoken_gb:.2f} | {row.peak_gb:.2f}"
        print(f"| {row.dtype} | {memory} | {row.first_ms:.0f} | {row.rtf:.2f} |", flush=True)
    print(f"\n{conditions(busy)}")


if __name__ == "__main__":
    main()
