"""What voices lack, and which engine provides it."""

from dataclasses import replace

import pytest

from intone.server.domain import EMOTIONS
from intone.server.routing.router import Router
from intone.server.voices.filler_phrases import EMOTIONS_WITH_PHRASES
from intone.server.voices.render_plan import RenderPlan, full_weight
from intone.server.voices.store import VoiceStore
from tests.support.background import clip, voice
from tests.support.fakes import ScriptedWorker


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_full_weight(emotion):
    made = full_weight(emotion)
    assert made.label == ("neutral" if emotion == "calm" else emotion)
    assert max(made.weights) == made.intensity == sum(made.weights) == 1.0


def worker(name, **changes):
    return ScriptedWorker(name=name, **changes)


def plan_of(*workers):
    return RenderPlan({one.info.name: one for one in workers}, Router().plain_engine([one.info for one in workers]))


def rendering_engines(workers, voices):
    """(voice, emotion, language) → engine."""
    tasks = plan_of(*workers).filler_tasks(voices)
    return {(task.voice.name, task.emotion, task.language): task.engine for task in tasks}


DEFAULT = VoiceStore().get("default")


@pytest.mark.parametrize(
    ("workers", "name", "expected"),
    [
        ([worker("voxcpm"), worker("indextts", voices_emotion=True)], "default", ("voxcpm", "indextts")),
        ([worker("voxcpm"), worker("indextts", voices_emotion=True)], "ada", ("voxcpm", "voxcpm")),
        ([worker("starter"), worker("indextts", voices_emotion=True)], "default", ("starter", "indextts")),
        ([worker("starter"), worker("voxcpm", trained=False)], "default", ("starter", "starter")),
        ([worker("voxcpm", trained=False), worker("starter")], "ada", (None, None)),
        ([worker("voxcpm", trained=False)], "ada", (None, None)),
        ([worker("voxcpm", languages=("zh",)), worker("starter", languages=("en-US",))], "default", ("starter",) * 2),
        ([worker("voxcpm", languages=("zh",))], "default", (None, None)),
    ],
    ids=[
        "an engine for each",
        "only the engine that has the voice",
        "another plain engine",
        "not an untrained engine",
        "not an untrained engine, though only it has the voice",
        "not an untrained engine, though it is the only one",
        "the engine that speaks the language",
        "no engine speaks the language",
    ],
)
def test_the_engine_that_renders(workers, name, expected):
    found = rendering_engines(workers, [DEFAULT, voice()])
    assert (found.get((name, "neutral", "en")), found.get((name, "sad", "en"))) == expected


def test_the_plain_engine_is_measured_first_and_neutral_fillers_are_rendered_first():
    plan = plan_of(worker("starter", voices_emotion=True), worker("voxcpm"))
    assert [(task.voice.name, task.engine) for task in plan.loudness_tasks([DEFAULT, voice()])] == [
        ("default", "voxcpm"),
        ("default", "starter"),
        ("ada", "voxcpm"),
    ]
    order = [(task.emotion, task.voice.name) for task in plan.filler_tasks([DEFAULT, voice()])]
    assert order[:4] == [("neutral", "default")] * 2 + [("neutral", "ada")] * 2
    assert order[4][0] == EMOTIONS_WITH_PHRASES[1]


def test_no_task_for_an_emotion_with_clips_of_the_user():
    with_clip = replace(DEFAULT, fillers=(clip("Ach.", "sad", "en-GB"),))
    found = rendering_engines([worker("voxcpm")], [with_clip])
    assert ("default", "sad", "en") not in found and ("default", "sad", "zh") in found
