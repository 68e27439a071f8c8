"""Implementation of each subcommand: run the stage with the parsed options and return a one-line summary."""

import argparse
from pathlib import Path

import torch

from intone.server.engines.voxcpm.config import VoxCPMConfig
from training import begin as begin_stage
from training import corpus as corpus_stage
from training import distil as distil_stage
from training import export as export_stage
from training import latents as latents_stage
from training import model_sizes, native, script, train_lm, train_vae
from training import slim as slim_stage
from training import teacher as teacher_stage
from training.analysis import FRAME_SAMPLES
from training.corpus import Corpus
from training.languages import languages_of
from training.latents import SAID_FILE, Latents, read_latents, read_said
from training.loop import Budget, Trainee, draw_log, load_state, train
from training.model import VoxCPM
from training.objective import Objective
from training.script import Script
from training.shards import RATE_HZ, Speech, read_speech


def corpus(options: argparse.Namespace) -> str:
    """Collect the sentences of a language; see `corpus.run`."""
    folder = _language_folder(options)
    made = corpus_stage.run(
        folder, options.language, options.held_out, options.limit, options.seed, options.text, options.agent
    )
    return f"{len(made.train)} sentences to train on, {len(made.held_out)} held out: {folder / 'corpus'}"


def teacher(options: argparse.Namespace) -> str:
    """Synthesize the corpus with the teacher; see `teacher.run`."""
    folder = _language_folder(options)
    missing = teacher_stage.run(
        folder, options.language, options.hours, options.skip_hours, options.jobs, options.minutes, options.speakers
    )
    if missing:
        return f"{missing} shards are still missing: run the same command again to resume"
    speech = read_speech(folder / "speech" / "train")
    return f"{len(speech)} sentences, {speech.hours:.1f} hours: {folder / 'speech'}"


def latents(options: argparse.Namespace) -> str:
    """Compute the latents of all speech of a language; see `latents.write_all`."""
    folder = _language_folder(options)
    latents_stage.write_all(folder, options.out / latents_stage.BASIS_FILE, model_sizes.config_of(options.size))
    made = read_latents(folder / "latents" / "train")
    return f"{len(made)} sentences, {len(made.patches)} patches: {folder / 'latents'}"


def begin(options: argparse.Namespace) -> str:
    """Start new runs from an exported checkpoint; see `begin.run`."""
    begin_stage.run(options.out, options.size, options.folder)
    return f"both runs start from {options.folder}: {options.out}"


def vae(options: argparse.Namespace) -> str:
    """Train the VAE on all languages for which there are latents."""
    device = torch.device(options.device)
    _has_compiler(options)
    given = {
        name: getattr(options, name)
        for name in ("steps", "batch", "rate", "seed", "adversary_from", "jury_width", "encoder_every")
    }
    recipe = train_vae.recipe_for(device, **given, more=tuple(options.more))
    spoken, held_out = (
        {language: _spoken(options.out / language, name) for language in languages_of(options.out)}
        for name in ("train", "held_out")
    )
    config = model_sizes.config_of(options.size).vae
    trainee = train_vae.VaeTrainee(config, recipe, spoken, held_out, device, read_said(options.out))
    return _train(trainee, options.out / "vae", options, recipe.steps)


def lm(options: argparse.Namespace) -> str:
    """Train the language models on all languages for which there are latents."""
    device = torch.device(options.device)
    objective = Objective(
        flow_samples=options.flow_samples, sounds_weight=options.sounds_weight, teacher_steps=options.teacher_steps
    )
    given = {"steps": options.steps, "batch": options.batch, "rate": options.rate, "seed": options.seed}
    recipe = train_lm.recipe_for(
        device, objective, joined_share=options.joined_share, speakers=options.speakers, **given
    )
    heard, held_out = (
        {language: _lessons(options.out / language, name) for language in languages_of(options.out)}
        for name in ("train", "held_out")
    )
    trainee = train_lm.LmTrainee(model_sizes.config_of(options.size), recipe, heard, held_out, device)
    if _has_compiler(options):
        trainee.compile()
    return _train(trainee, options.out / "lm", options, recipe.steps)


def distil(options: argparse.Namespace) -> str:
    """Distil the flow decoder of the stage `lm` to few evaluations without guidance."""
    device = torch.device(options.device)
    names = ("steps", "batch", "rate", "seed", "evaluations", "teacher_steps", "guidance", "patches")
    config = model_sizes.config_of(options.size)
    recipe = distil_stage.recipe_for(device, config, **{name: getattr(options, name) for name in names})
    model = VoxCPM(config)
    model.load_state_dict(train_lm.model_tensors(load_state(options.out / "lm")["trainee"]))
    heard, held_out = (
        {language: _lessons(options.out / language, name) for language in languages_of(options.out)}
        for name in ("train", "held_out")
    )
    trainee = distil_stage.DistilTrainee(model, recipe, heard, held_out, device)
    return _train(trainee, options.out / distil_stage.FOLDER, options, recipe.steps)


def say(options: argparse.Namespace) -> str:
    """Generate latents with the language models; see `say.run`."""
    from training import say as say_stage  # imports the engine, which the other stages do not need

    frames = say_stage.run(options.out, options.folder or options.out / "checkpoint", options.sentences)
    return f"{frames * FRAME_SAMPLES / RATE_HZ / 60:.0f} minutes: {options.out / SAID_FILE}"


def export(options: argparse.Namespace) -> str:
    """Export a checkpoint for the server; see `export.run`."""
    folder = options.folder or options.out / "checkpoint"
    size_bytes = export_stage.run(options.out, options.size, options.storage, folder, options.report)
    return f"{size_bytes / 1e6:.1f} MB: {folder}"


def slim(options: argparse.Namespace) -> str:
    """Write small checkpoints for transfer to another machine; see `slim.run`."""
    return f"{slim_stage.run(options.out) / 1e6:.1f} MB: {options.out / 'slim'}"


def measure(options: argparse.Namespace) -> str:
    """Synthesize and evaluate held-out sentences; see `measure.run`."""
    from training import measure as measure_stage  # imports the engine and soundfile, not needed for training

    folder = options.folder or options.out / "checkpoint"
    served = measure_stage.as_served(VoxCPMConfig.load(folder / "config.json"))
    asked = {name: getattr(options, name) for name in ("steps", "guidance", "dtype", "temperature")}
    return measure_stage.run(
        _language_folder(options),
        folder,
        options.report or _language_folder(options) / "report",
        measure_stage.Wanted(
            language=options.language,
            sentences=options.sentences,
            random_sentences=options.random,
            settings=measure_stage.settings(served, asked, options.one_at_a_time),
            teacher=options.teacher,
            judges=options.judges,
        ),
    )


def copies(options: argparse.Namespace) -> str:
    """Evaluate the decoder by copy synthesis; see `copy_synthesis.run`."""
    from training import copy_synthesis  # imports the native engine, not needed for training

    folder = options.folder or options.out / "checkpoint"
    report = options.report or _language_folder(options) / "copies"
    language_folder = _language_folder(options)
    return copy_synthesis.run(language_folder, folder, report, options.language, options.sentences, options.judges)


def _spoken(folder: Path, name: str) -> tuple[Speech, Latents]:
    """Speech and latents of one list (`train` or `held_out`) of a language."""
    return read_speech(folder / "speech" / name), read_latents(folder / "latents" / name)


def _lessons(folder: Path, name: str) -> tuple[Latents, Script]:
    """Latents and the aligned text of one list (`train` or `held_out`) of a language."""
    texts = Corpus.load(folder / "corpus")
    heard = read_latents(folder / "latents" / name)
    return heard, script.script_of(getattr(texts, name), heard, folder.name)


def _language_folder(options: argparse.Namespace) -> Path:
    """Folder of one language: its texts, speech and latents."""
    folder: Path = options.out / options.language
    return folder


def _has_compiler(options: argparse.Namespace) -> bool:
    """Whether to compile: training runs on a CPU, not at size `tiny`, and `native` could be compiled and loaded."""
    return options.device == "cpu" and options.size != "tiny" and native.load()


def _train(trainee: Trainee, folder: Path, options: argparse.Namespace, steps: int) -> str:
    budget = Budget(steps, options.minutes, options.save_minutes)
    done = train(trainee, folder, budget, folder.name)
    drawn = draw_log(folder, folder.name)
    return f"{done} of {steps} steps: {folder}" + (f", {drawn.name}" if drawn else "")
