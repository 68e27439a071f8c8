"""Implementation of each subcommand: run the stage with the parsed options and return a one-line summary."""

import argparse
from pathlib import Path
from typing import Any

from training import native
from training.indextts import sizes, train_vocoder
from training.indextts import teacher as teacher_stage
from training.indextts.features import Basis
from training.indextts.speech import read_speech
from training.loop import Budget, Trainee, draw_log, train


def teacher(options: argparse.Namespace) -> str:
    """Speak the corpus with emotion; see `teacher.run`."""
    added = teacher_stage.run(options.out / "en" / "corpus", options.out, options.hours, options.skip_hours)
    speech = read_speech(options.out / "speech" / "train")
    return f"{added} new shards; {len(speech)} sentences, {speech.hours:.1f} hours: {options.out / 'speech'}"


def vocoder(options: argparse.Namespace) -> str:
    """Train the vocoder."""
    if options.size != "tiny":
        native.load("indextts/anti_alias.cpp", "intone_anti_alias")
    recipe = train_vocoder.VocoderRecipe(**_given(options, "steps", "batch", "rate", "seed", "adversary_from"))
    speech, held_out = (read_speech(options.out / "speech" / name, options.shards) for name in ("train", "held_out"))
    basis = Basis.at(options.out, speech)
    trainee = train_vocoder.VocoderTrainee(sizes.config(options.size), recipe, basis, speech, held_out)
    return _train(trainee, options.out / "vocoder", options, recipe.steps)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _train(trainee: Trainee, folder: Path, options: argparse.Namespace, steps: int) -> str:
    done = train(trainee, folder, Budget(steps, options.minutes, options.save_minutes), folder.name)
    drawn = draw_log(folder, folder.name)
    return f"{done} of {steps} steps: {folder}" + (f", {drawn.name}" if drawn else "")
