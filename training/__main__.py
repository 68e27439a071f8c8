"""The command line of the recipe: one command for each stage, in the order they are run."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from training import model_sizes, stages, storage
from training.languages import LANGUAGES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; 1 if it failed for a reason that its message says, 130 if it was interrupted."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # convolutions see one shape only
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
    _corpus(_stage(commands, "corpus", stages.corpus, "sentences to train on, and others to examine with"))
    _teacher(_stage(commands, "teacher", stages.teacher, "a teacher reads them aloud"))
    _stage(commands, "latents", stages.latents, "all speech as latents, once")
    begin = _stage(commands, "begin", stages.begin, "go on from a checkpoint, where the runs it came from are gone")
    begin.add_argument("--folder", type=Path, required=True, help="the checkpoint, with the basis of its latents")
    for name, stage, text in (
        ("vae", stages.vae, "the audio VAE, encoder and decoder"),
        ("lm", stages.lm, "the language models and the flow; beside `vae`, neither needs the other"),
    ):
        _training(_stage(commands, name, stage, text), name)
    say = _stage(commands, "say", stages.say, "the language models speak, for the decoder to hear in more of `vae`")
    say.add_argument("--folder", type=Path, default=None, help="the checkpoint (default: OUT/checkpoint)")
    say.add_argument("--sentences", type=int, default=600, help="of each language's corpus (default: 600)")
    export = _stage(commands, "export", stages.export, "a checkpoint that the server loads")
    export.add_argument("--storage", choices=storage.KINDS, default="float16", help="of the weights (default: float16)")
    export.add_argument("--folder", type=Path, default=None, help="where to (default: OUT/checkpoint)")
    export.add_argument(
        "--report",
        type=Path,
        nargs="+",
        default=(),
        help="what `measure` wrote of it in each language: adds card and page",
    )
    _stage(commands, "slim", stages.slim, "checkpoints that can travel: OUT/slim, to be copied over OUT elsewhere")
    _copies(_stage(commands, "copies", stages.copies, "the decoder alone: held-out speech through its own latents"))
    _measure(_stage(commands, "measure", stages.measure, "render held-out sentences and judge them"))
    return parser


def _stage(commands: argparse._SubParsersAction, name: str, stage: object, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    if name in ("corpus", "teacher", "latents", "copies", "measure"):
        parser.add_argument(
            "--language", choices=LANGUAGES, default="en", help="whose files: OUT/LANGUAGE (default: en)"
        )
    parser.set_defaults(stage=stage, name=name)
    parser.add_argument("--out", type=Path, default=Path("build/training"), help="all files of a run are below this")
    parser.add_argument("--size", choices=model_sizes.names(), default="nano", help="of the model (default: nano)")
    return parser


def _corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--held-out", type=int, default=200, help="sentences that training never sees (default: 200)")
    parser.add_argument("--limit", type=int, default=None, help="most sentences to train on")
    parser.add_argument("--seed", type=int, default=0, help="of their order")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="own files, a sentence a line, instead")


def _teacher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=None, help="about so much speech (default: the whole corpus)")
    parser.add_argument("--skip-hours", type=float, default=0.0, help="leave out about so much speech at the beginning")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (default: 2)")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so long; a second call goes on")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")


def _training(parser: argparse.ArgumentParser, name: str) -> None:
    _device(parser)
    parser.add_argument("--steps", type=int, default=None, help="of the whole run, earlier calls included")
    parser.add_argument("--minutes", type=float, default=None, help="of this call; a second call goes on")
    parser.add_argument("--save-minutes", type=float, default=3.0, help="between checkpoints (default: 3)")
    parser.add_argument("--batch", type=int, default=None, help="examples to a step")
    parser.add_argument("--rate", type=float, default=None, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and noise")
    if name == "vae":
        parser.add_argument(
            "--jury-width", type=int, default=None, help="channels of the discriminators (CUDA 32, CPU 16)"
        )
        parser.add_argument(
            "--more", nargs="*", choices=LANGUAGES, default=[], help="languages that lag behind: one more turn each"
        )
        parser.add_argument("--adversary-from", type=int, default=None, help="step from which the jury sits")
        parser.add_argument(
            "--encoder-every", type=int, default=None, help="the encoder learns in every so many-th step; 0: not at all"
        )
    if name == "lm":
        parser.add_argument("--flow-samples", type=int, default=1, help="noisy versions of each patch (default: 1)")
        parser.add_argument("--sounds-weight", type=float, default=1.0, help="of the second teacher (default: 1)")
        parser.add_argument("--teacher-steps", type=int, default=6000, help="until it is a tenth (default: 6000)")
        parser.add_argument("--joined-share", type=float, default=0.2, help="of steps that join sentences in pairs")


def _copies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=None, help="the checkpoint (default: OUT/checkpoint)")
    parser.add_argument("--report", type=Path, default=None, help="where the figures go (default: OUT/LANGUAGE/copies)")
    parser.add_argument("--sentences", type=int, default=40, help="of the held-out list (default: 40)")
    parser.add_argument("--judges", type=Path, default=None, help="Python of another environment that has the judges")


def _measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=None, help="the checkpoint (default: OUT/checkpoint)")
    parser.add_argument("--report", type=Path, default=None, help="where the figures go (default: OUT/LANGUAGE/report)")
    parser.add_argument("--sentences", type=int, default=200, help="of the held-out list (default: 200)")
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[], help="of the flow; several make a comparison (default: as served)"
    )
    parser.add_argument("--guidance", type=float, nargs="*", default=[], help="likewise")
    parser.add_argument("--dtype", nargs="*", default=[], help="int8, bf16 or fp32; likewise")
    parser.add_argument("--temperature", type=float, nargs="*", default=[], help="of the noise; likewise")
    parser.add_argument(
        "--one-at-a-time",
        action="store_true",
        help="what is served, and what differs in one of these only",
    )
    parser.add_argument("--judges", type=Path, default=None, help="Python of another environment that has the judges")
    parser.add_argument("--random", type=int, default=0, help="further random sentences whose length alone is judged")
    parser.add_argument("--teacher", action="store_true", help="judge the teacher's own speech as well")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: a teacher's processes end with it
    sys.exit(main())
