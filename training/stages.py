"""What each command does: reads its options, runs its stage, says in a sentence what came of it."""

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from training import corpus as corpus_stage
from training import export as export_stage
from training import latents as latents_stage
from training import model_sizes, native, train_lm, train_vae
from training import slim as slim_stage
from training import teacher as teacher_stage
from training.corpus import Corpus
from training.latents import VAE_FILE, read_latents
from training.loop import CHECKPOINT, Budget, Trainee, draw_log, load_state, train
from training.objective import Objective
from training.script import script_of
from training.shards import read_speech


def corpus(options: argparse.Namespace) -> str:
    """See `corpus.run`."""
    made = corpus_stage.run(options.out, options.held_out, options.limit, options.seed, options.text)
    return f"{len(made.train)} sentences to train on, {len(made.held_out)} held out: {options.out / 'corpus'}"


def teacher(options: argparse.Namespace) -> str:
    """See `teacher.run`."""
    missing = teacher_stage.run(options.out, options.hours, options.jobs, options.minutes)
    if missing:
        return f"{missing} shards are still missing: run the same command again to go on"
    speech = read_speech(options.out / "speech" / "train")
    return f"{len(speech)} sentences, {speech.hours:.1f} hours: {options.out / 'speech'}"


def vae(options: argparse.Namespace) -> str:
    """Train the VAE."""
    return _train_vae(options, "vae", None)


def refine(options: argparse.Namespace) -> str:
    """Train its decoder further."""
    known = (options.out / "vae" / CHECKPOINT).exists()
    vae_state = load_state(options.out / "vae")["trainee"] if known else None
    return _train_vae(options, "refined", train_vae.start_of_refinement(_scaled_vae(options.out), vae_state))


def latents(options: argparse.Namespace) -> str:
    """See `latents.encode_all`."""
    _compile(options)
    latents_stage.encode_all(options.out, model_sizes.config_of(options.size), torch.device(options.device))
    made = read_latents(options.out / "latents" / "train")
    return f"{len(made)} sentences, {len(made.patches)} patches: {options.out / 'latents'}"


def lm(options: argparse.Namespace) -> str:
    """Train the language models."""
    device = torch.device(options.device)
    texts = Corpus.load(options.out / "corpus")
    heard = {name: read_latents(options.out / "latents" / name) for name in ("train", "held_out")}
    objective = Objective(
        flow_samples=options.flow_samples, sounds_weight=options.sounds_weight, teacher_steps=options.teacher_steps
    )
    given = {"steps": options.steps, "batch": options.batch, "rate": options.rate, "seed": options.seed}
    recipe = train_lm.recipe_for(device, objective, joined_share=options.joined_share, **given)
    trainee = train_lm.LmTrainee(
        model_sizes.config_of(options.size),
        recipe,
        heard["train"],
        script_of(texts.train, heard["train"]),
        heard["held_out"],
        script_of(texts.held_out, heard["held_out"]),
        device,
    )
    return _train(trainee, options.out / "lm", options, recipe.steps)


def export(options: argparse.Namespace) -> str:
    """See `export.run`."""
    folder = options.folder or options.out / "checkpoint"
    size_bytes = export_stage.run(options.out, options.size, options.storage, folder, options.report)
    return f"{size_bytes / 1e6:.1f} MB: {folder}"


def slim(options: argparse.Namespace) -> str:
    """See `slim.run`."""
    return f"{slim_stage.run(options.out) / 1e6:.1f} MB: {options.out / 'slim'}"


def measure(options: argparse.Namespace) -> str:
    """See `measure.run`."""
    from training import measure as measure_stage  # brings the whole engine and soundfile, which training does without

    return measure_stage.run(
        options.out,
        options.folder or options.out / "checkpoint",
        options.report or options.out / "report",
        measure_stage.Wanted(
            sentences=options.sentences,
            random_sentences=options.random,
            settings=tuple(
                measure_stage.Setting(steps, guidance, dtype)
                for dtype in options.dtype
                for steps in options.steps
                for guidance in options.guidance
            ),
            teacher=options.teacher,
            judges=options.judges,
        ),
    )


def _train_vae(options: argparse.Namespace, name: str, start: dict[str, Any] | None) -> str:
    device = torch.device(options.device)
    _compile(options)
    given = {"steps": options.steps, "batch": options.batch, "rate": options.rate, "seed": options.seed}
    from_step = 0 if start is not None else options.adversary_from
    recipe = train_vae.recipe_for(device, adversary_from=from_step, jury_width=options.jury_width, **given)
    speech, held_out = (read_speech(options.out / "speech" / part) for part in ("train", "held_out"))
    config = model_sizes.config_of(options.size).vae
    trainee = train_vae.VaeTrainee(config, recipe, speech, held_out, device, start, start is not None)
    return _train(trainee, options.out / name, options, recipe.steps)


def _compile(options: argparse.Namespace) -> None:
    """The VAE's units, where they are worth it."""
    if options.device == "cpu" and options.size != "tiny":
        native.load()


def _train(trainee: Trainee, folder: Path, options: argparse.Namespace, steps: int) -> str:
    budget = Budget(steps, options.minutes, options.save_minutes)
    done = train(trainee, folder, budget, folder.name)
    drawn = draw_log(folder, folder.name)
    return f"{done} of {steps} steps: {folder}" + (f", {drawn.name}" if drawn else "")


def _scaled_vae(out: Path) -> dict[str, torch.Tensor]:
    path = out / "latents" / VAE_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path}: run the stage `latents` first")
    return load_file(path)
