"""Command line of the recipe of nano IndexTTS: one subcommand per stage, listed in the order in which they are run."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from training import storage
from training.indextts import sizes, stages

TRAINED = (
    ("vocoder", stages.vocoder, "train the vocoder: frames and source to audio"),
    ("flow", stages.flow, "train codec, length regulator and flow: codes to frames"),
    ("gpt", stages.gpt, "train the language model: phonemes and emotion to codes"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage and return the exit status: 0, 1 after an error (printed to stderr), 130 if interrupted."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    stage: Callable[[argparse.Namespace], str] = options.stage
    try:
        print(stage(options))
    except (OSError, ValueError, RuntimeError) as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.indextts", description=__doc__)
    parser.set_defaults(threads=1)
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    teacher = _stage(commands, "teacher", stages.teacher, "speak the corpus with emotion")
    teacher.add_argument("--hours", type=float, default=None, help="approximate hours of speech (default: all)")
    teacher.add_argument("--skip-hours", type=float, default=0.0, help="approximate hours to skip at the beginning")
    teacher.add_argument("--jobs", type=int, default=1, help="single-threaded worker processes (default: 1)")
    codes = _stage(commands, "codes", stages.codes, "report how much of the prosody is left in the codes")
    codes.add_argument("--shards", type=int, default=None, help="number of speech shards to read (default: all)")
    for name, stage, text in TRAINED:
        _training(_stage(commands, name, stage, text))
    export = _stage(commands, "export", stages.export, "write a checkpoint that the server can load")
    export.add_argument("--storage", choices=storage.KINDS, default="int8", help="data type (default: int8)")
    export.add_argument("--folder", type=Path, default=None, help="output folder (default: OUT/checkpoint)")
    copies = _stage(commands, "copies", stages.copies, "resynthesize and judge held-out speech: vocoder, and flow")
    measure = _stage(commands, "measure", stages.measure, "let a checkpoint speak held-out sentences and judge it")
    measure.add_argument("--folder", type=Path, default=None, help="checkpoint folder (default: OUT/checkpoint)")
    measure.add_argument("--moved", type=int, default=25, help="sentences spoken with each emotion (default: 25)")
    for judged, count in ((copies, 24), (measure, 200)):
        judged.add_argument("--sentences", type=int, default=count, help=f"number of sentences (default: {count})")
        judged.add_argument("--report", type=Path, default=None, help="output folder (default: in OUT)")
        judged.add_argument("--judges", type=Path, default=None, help="Python of `make train-judges`")
    _stage(commands, "slim", stages.slim, "write small states to OUT/slim; to resume, copy its content over OUT")
    return parser


def _training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=None, help="steps of the whole run, including earlier calls")
    parser.add_argument("--minutes", type=float, default=None, help="time limit of this call; another call resumes")
    parser.add_argument("--save-minutes", type=float, default=3.0, help="interval of checkpoints (default: 3)")
    parser.add_argument("--batch", type=int, default=None, help="examples per step")
    parser.add_argument("--rate", type=float, default=None, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=None, help="of all random numbers (default: 0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    parser.add_argument("--adversary-from", type=int, default=None, help="first step of the vocoder's discriminators")
    parser.add_argument("--shards", type=int, default=None, help="number of speech shards to read (default: all)")


def _stage(commands: argparse._SubParsersAction, name: str, stage: object, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(stage=stage, name=name)
    parser.add_argument(
        "--out", type=Path, default=Path("build/indextts"), help="root folder of all files (default: build/indextts)"
    )
    parser.add_argument("--size", choices=sizes.names(), default="nano", help="model size (default: nano)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
