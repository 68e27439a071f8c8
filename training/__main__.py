"""Command line of the training recipe: one subcommand per stage, listed in the order in which they are run."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from training import model_sizes, stages, storage
from training.languages import LANGUAGES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage and return the exit status: 0, 1 after an error (printed to stderr), 130 if interrupted."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # the input shapes of the convolutions are constant
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
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.set_defaults(threads=1)
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    _corpus(_stage(commands, "corpus", stages.corpus, "collect training and held-out sentences"))
    _teacher(_stage(commands, "teacher", stages.teacher, "synthesize the sentences with a teacher TTS model"))
    _stage(commands, "latents", stages.latents, "compute the latents of all speech")
    begin = _stage(commands, "begin", stages.begin, "start new training runs from an exported checkpoint")
    begin.add_argument(
        "--folder", type=Path, required=True, help="checkpoint folder, including the basis of the latents"
    )
    for name, stage, text in (
        ("vae", stages.vae, "train the audio VAE: encoder and decoder"),
        ("lm", stages.lm, "train the language models and the flow decoder; independent of `vae`, can run in parallel"),
        ("distil", stages.distil, "train the flow decoder of `lm` to need few evaluations and no guidance"),
    ):
        _training(_stage(commands, name, stage, text), name)
    say = _stage(
        commands, "say", stages.say, "generate latents with the language models, as additional input for training `vae`"
    )
    say.add_argument("--folder", type=Path, default=None, help="checkpoint folder (default: OUT/checkpoint)")
    say.add_argument("--sentences", type=int, default=600, help="number of sentences per language (default: 600)")
    export = _stage(commands, "export", stages.export, "write a checkpoint that the server can load")
    export.add_argument(
        "--storage", choices=storage.KINDS, default="float16", help="data type of the weights (default: float16)"
    )
    export.add_argument("--folder", type=Path, default=None, help="output folder (default: OUT/checkpoint)")
    export.add_argument(
        "--report",
        type=Path,
        nargs="+",
        default=(),
        help="report of `measure` for each language; adds a model card and README.md",
    )
    _stage(
        commands,
        "slim",
        stages.slim,
        "write small checkpoints to OUT/slim; to resume elsewhere, copy its content over OUT",
    )
    _copies(
        _stage(commands, "copies", stages.copies, "evaluate the decoder alone by copy synthesis of held-out speech")
    )
    _measure(_stage(commands, "measure", stages.measure, "synthesize held-out sentences and evaluate them"))
    return parser


def _stage(commands: argparse._SubParsersAction, name: str, stage: object, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    if name in ("corpus", "teacher", "latents", "copies", "measure"):
        parser.add_argument(
            "--language", choices=LANGUAGES, default="en", help="language; its files are in OUT/LANGUAGE (default: en)"
        )
    parser.set_defaults(stage=stage, name=name)
    parser.add_argument(
        "--out", type=Path, default=Path("build/training"), help="root folder of all files (default: build/training)"
    )
    parser.add_argument("--size", choices=model_sizes.names(), default="nano", help="model size (default: nano)")
    return parser


def _corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--held-out", type=int, default=200, help="number of held-out sentences (default: 200)")
    parser.add_argument("--limit", type=int, default=None, help="maximum number of training sentences")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffle (default: 0)")
    parser.add_argument(
        "--agent",
        type=int,
        default=0,
        help="number of sentences of spoken agents to add: numbers, codes, greetings, replies (default: 0)",
    )
    parser.add_argument(
        "--text", type=Path, nargs="*", default=[], help="text files, one sentence per line, instead of the sources"
    )


def _teacher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hours", type=float, default=None, help="approximate hours of speech (default: the whole corpus)"
    )
    parser.add_argument(
        "--skip-hours", type=float, default=0.0, help="approximate hours of speech to skip at the beginning"
    )
    _speakers(parser, "synthetic speakers, in turn, instead of the teacher's one voice")
    parser.add_argument("--jobs", type=int, default=2, help="single-threaded worker processes (default: 2)")
    parser.add_argument("--minutes", type=float, default=None, help="time limit of this call; another call resumes")


def _speakers(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--speakers", type=int, default=0, help=f"number of {text} (default: 0)")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device to train on (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def _training(parser: argparse.ArgumentParser, name: str) -> None:
    _device(parser)
    parser.add_argument("--steps", type=int, default=None, help="total steps, including those of earlier calls")
    parser.add_argument("--minutes", type=float, default=None, help="time limit of this call; another call resumes")
    parser.add_argument("--save-minutes", type=float, default=3.0, help="minutes between checkpoints (default: 3)")
    parser.add_argument("--batch", type=int, default=None, help="batch size")
    parser.add_argument("--rate", type=float, default=None, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="seed of initial weights, batches and noise (default: 0)")
    if name == "vae":
        parser.add_argument(
            "--jury-width",
            type=int,
            default=None,
            help="channels of the discriminators (default: 32 on CUDA, 16 on a CPU)",
        )
        parser.add_argument(
            "--more",
            nargs="*",
            choices=LANGUAGES,
            default=[],
            help="languages to sample more often: one additional turn each time named",
        )
        parser.add_argument(
            "--adversary-from", type=int, default=None, help="step at which discriminator training starts"
        )
        parser.add_argument(
            "--encoder-every", type=int, default=None, help="train the encoder every N steps only; 0: never"
        )
    if name == "distil":
        parser.add_argument(
            "--evaluations", type=int, default=2, help="evaluations of the flow decoder per patch (default: 2)"
        )
        parser.add_argument("--teacher-steps", type=int, default=20, help="flow steps of the teacher (default: 20)")
        parser.add_argument("--guidance", type=float, default=2.0, help="guidance scale of the teacher (default: 2)")
        parser.add_argument("--patches", type=int, default=None, help="maximum number of patches used per step")
    if name == "lm":
        _speakers(parser, "speakers of the stage `teacher`; joined sentences are then of the same speaker")
        parser.add_argument("--flow-samples", type=int, default=1, help="flow times and noises per patch (default: 1)")
        parser.add_argument(
            "--sounds-weight", type=float, default=1.0, help="initial weight of the phoneme loss (default: 1)"
        )
        parser.add_argument(
            "--teacher-steps",
            type=int,
            default=6000,
            help="steps in which the weights of the auxiliary losses decay to a tenth (default: 6000)",
        )
        parser.add_argument(
            "--joined-share",
            type=float,
            default=0.2,
            help="fraction of steps that train on pairs of joined sentences (default: 0.2)",
        )


def _copies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=None, help="checkpoint folder (default: OUT/checkpoint)")
    parser.add_argument("--report", type=Path, default=None, help="output folder (default: OUT/LANGUAGE/copies)")
    parser.add_argument("--sentences", type=int, default=40, help="number of held-out sentences (default: 40)")
    parser.add_argument(
        "--judges", type=Path, default=None, help="Python interpreter of an environment with the evaluation models"
    )


def _measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=None, help="checkpoint folder (default: OUT/checkpoint)")
    parser.add_argument("--report", type=Path, default=None, help="output folder (default: OUT/LANGUAGE/report)")
    parser.add_argument("--sentences", type=int, default=200, help="number of held-out sentences (default: 200)")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="*",
        default=[],
        help="flow solver steps; several values are compared (default: as served)",
    )
    parser.add_argument(
        "--guidance",
        type=float,
        nargs="*",
        default=[],
        help="guidance scales; several values are compared (default: as served)",
    )
    parser.add_argument(
        "--dtype",
        nargs="*",
        default=[],
        help="int8, bf16 or fp32; several values are compared (default: as served)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        nargs="*",
        default=[],
        help="temperatures of the flow's noise; several values are compared (default: as served)",
    )
    parser.add_argument(
        "--one-at-a-time",
        action="store_true",
        help="compare the served setting with variants that differ in one value only, instead of all combinations",
    )
    parser.add_argument(
        "--judges", type=Path, default=None, help="Python interpreter of an environment with the evaluation models"
    )
    parser.add_argument(
        "--random",
        type=int,
        default=0,
        help="number of additional random word sequences, evaluated for duration only (default: 0)",
    )
    parser.add_argument("--teacher", action="store_true", help="also evaluate the teacher's speech")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as for Ctrl-C, so that worker processes are terminated
    sys.exit(main())
