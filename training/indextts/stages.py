"""Implementation of each subcommand: run the stage with the parsed options and return a one-line summary."""

import argparse
from pathlib import Path
from typing import Any

import torch

from training import native
from training import slim as slim_stage
from training.indextts import code_report, sizes, train_flow, train_gpt, train_vocoder
from training.indextts import export as export_stage
from training.indextts import teacher as teacher_stage
from training.indextts.features import Basis
from training.indextts.speech import Speech, read_speech
from training.loop import Budget, Trainee, draw_log, train

RUNS = {"vocoder": "vocoder", "flow": "flow", "gpt": "gpt"}
"""Folder of a run → key of the trained weights in its state."""


def teacher(options: argparse.Namespace) -> str:
    """Speak the corpus with emotion; see `teacher.run`."""
    added = teacher_stage.run(
        options.out / "en" / "corpus", options.out, options.hours, options.skip_hours, options.jobs
    )
    speech = read_speech(options.out / "speech" / "train")
    return f"{added} new shards; {len(speech)} sentences, {speech.hours:.1f} hours: {options.out / 'speech'}"


def codes(options: argparse.Namespace) -> str:
    """Report how much of the prosody is left in the codes; see `code_report.run`."""
    return code_report.run(options.out, options.shards)


def vocoder(options: argparse.Namespace) -> str:
    """Train the vocoder."""
    _native(options)
    recipe = train_vocoder.VocoderRecipe(**_given(options, "steps", "batch", "rate", "seed", "adversary_from"))
    trainee = train_vocoder.VocoderTrainee(sizes.config(options.size), recipe, *_material(options))
    return _train(trainee, options.out / "vocoder", options, recipe.steps)


def gpt(options: argparse.Namespace) -> str:
    """Train the language model."""
    recipe = train_gpt.GptRecipe(**_given(options, "steps", "rate", "seed"))
    trainee = train_gpt.GptTrainee(sizes.config(options.size), recipe, *_material(options))
    return _train(trainee, options.out / "gpt", options, recipe.steps)


def flow(options: argparse.Namespace) -> str:
    """Train codec, length regulator and flow."""
    recipe = train_flow.FlowRecipe(**_given(options, "steps", "batch", "rate", "seed"))
    trainee = train_flow.FlowTrainee(sizes.config(options.size), recipe, *_material(options))
    return _train(trainee, options.out / "flow", options, recipe.steps)


def export(options: argparse.Namespace) -> str:
    """Export a checkpoint for the server; see `export.run`."""
    folder = options.folder or options.out / "checkpoint"
    size_bytes = export_stage.run(options.out, options.size, options.storage, folder)
    return f"{size_bytes / 1e6:.1f} MB: {folder}"


def copies(options: argparse.Namespace) -> str:
    """Resynthesize held-out sentences; see `measure.copies`."""
    from training.indextts import measure as measure_stage  # imports the engine, which the others do not need

    _native(options)
    report = options.report or options.out / "copies"
    return measure_stage.copies(options.out, options.size, options.sentences, report, options.judges)


def measure(options: argparse.Namespace) -> str:
    """Let an exported checkpoint speak, and evaluate it; see `measure.run`."""
    from training.indextts import measure as measure_stage

    folder, report = options.folder or options.out / "checkpoint", options.report or options.out / "report"
    return measure_stage.run(options.out, folder, report, options.sentences, options.moved, options.judges)


def slim(options: argparse.Namespace) -> str:
    """Write small states for transfer; see `training.slim`."""
    size_bytes = slim_stage.run(options.out, RUNS)
    return f"{size_bytes / 1e6:.1f} MB: {options.out / 'slim'}"


def _native(options: argparse.Namespace) -> None:
    """Compile and load the vocoder's activation, except at size `tiny` and on a GPU."""
    if options.size != "tiny" and getattr(options, "device", "cpu") == "cpu":
        native.load("indextts/anti_alias.cpp", "intone_anti_alias")


def _material(options: argparse.Namespace) -> tuple[Basis, Speech, Speech, torch.device]:
    """The basis, the speech to train on and to examine with, and the device."""
    speech, held_out = (read_speech(options.out / "speech" / name, options.shards) for name in ("train", "held_out"))
    return Basis.at(options.out, speech), speech, held_out, torch.device(options.device)


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def _train(trainee: Trainee, folder: Path, options: argparse.Namespace, steps: int) -> str:
    done = train(trainee, folder, Budget(steps, options.minutes, options.save_minutes), folder.name)
    drawn = draw_log(folder, folder.name)
    return f"{done} of {steps} steps: {folder}" + (f", {drawn.name}" if drawn else "")
