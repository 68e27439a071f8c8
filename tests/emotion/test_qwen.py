"""The emotion model: parsing of its answers, and the whole path with a tiny model of the same architecture."""

import builtins
import json
import math
import os
import subprocess
import sys

import pytest

from intone.server.domain import EMOTIONS
from intone.server.emotion.qwen import KEYS, QwenEmotion, parse_scores
from intone.server.errors import CheckpointError
from tests.oracles.indextts_golden import ORACLE, REQUIREMENTS, ROOT

SCRIPT = ROOT / "tests" / "support" / "emotion_qwen_tiny.py"


def test_every_emotion_has_its_key():
    assert tuple(KEYS.values()) == EMOTIONS


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ('{"高兴": 0.8, "自然": 0.2}', {"happy": 0.8, "calm": 0.2}),
        ('```json\n{"愤怒": 1.0}\n```', {"angry": 1.0}),
        ('{"悲伤": "0.7", "低落": 0.3}', {"sad": 0.7, "melancholic": 0.3}),
        ("{'恐惧': 0.5, '反感': 0.25}", {"afraid": 0.5, "disgusted": 0.25}),
        ('{"惊讶": 0.9, "高', {"surprised": 0.9}),
        ("高兴: 0.9, 愤怒:0.1", {"happy": 0.9, "angry": 0.1}),
        ("“高兴”：0.5", {"happy": 0.5}),
        ('{"高兴": 5, "愤怒": -1}', {"happy": 1.2, "angry": 0.0}),
        ('{"高兴": 0, "愤怒": 0}', {"happy": 0.0, "angry": 0.0}),
        ('{"高兴": 0.5, "else": {"deep": [1]}}', {"happy": 0.5}),
        ('{"高兴": true, "愤怒": null, "悲伤": 0.5}', {"sad": 0.5}),
        ('{"高兴": NaN, "悲伤": 0.5, "愤怒": Infinity}', {"sad": 0.5}),
        ('{"高兴": 0.5} and {"愤怒": 0.3}', {"happy": 0.5, "angry": 0.3}),
        ("高兴", None),
        ("", None),
        ("{}", None),
        ("[0.1, 0.2]", None),
        ('{"happy": 1}', None),
        ('{"高兴": 1e999}', None),
        ("{" * 5000 + "}", None),
    ],
)
def test_answers(answer, scores):
    assert parse_scores(answer) == scores


class FixedAnswer:
    """Stands for a tokenizer and a model that always gives one answer."""

    def __init__(self, answer):
        self.answer = answer

    def analyzer(self):
        made = QwenEmotion(self, self)
        made.answer = lambda text: self.answer
        return made

    def convert_tokens_to_ids(self, token):
        return 0


@pytest.mark.parametrize(
    ("answer", "text", "label", "intensity"),
    [
        ('{"高兴": 1.2, "惊讶": 0.3}', "中奖了", "happy", 1.0),
        ('{"悲伤": 0.8, "低落": 0.1}', "外婆走了", "sad", 0.8),
        ('{"悲伤": 0.8, "低落": 0.1}', "最近很低落", "melancholic", 0.8),
        ('{"悲伤": 0.6}', "I feel so nostalgic tonight", "melancholic", 0.6),
        ('{"高兴": 0.0}', "你好", "calm", 1.0),
        ('{"自然": 1.0}', "你好", "calm", 1.0),
        ("I cannot say", "你好", "neutral", 0.0),
    ],
)
def test_estimates(answer, text, label, intensity):
    found = FixedAnswer(answer).analyzer().analyze(text)
    assert (found.label, found.emotion.intensity) == (label, pytest.approx(intensity))
    assert found.emotion.intensity == max(found.emotion.weights) and math.fsum(found.emotion.weights) <= 1.5
    assert text not in found.explanation


def test_without_transformers_it_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name == "transformers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(CheckpointError, match=r"pip install 'intone\[qwen\]'"):
        QwenEmotion.load(tmp_path)


@pytest.mark.slow
def test_a_tiny_model_loads_learns_and_answers(require, tmp_path):
    installed = (ORACLE / "transformers").is_dir()
    require("oracle-indextts", installed, f"no transformers: see {REQUIREMENTS.relative_to(ROOT)}")
    environment = os.environ | {"PYTHONPATH": str(ORACLE), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "found.json").read_text("utf8"))
    assert found["untrained"] == "neutral" and found["same"]  # random weights give no scores, deterministically
    assert found["dtype"] == "torch.float32"
    assert found["loss"] < 0.1
    assert found["answer"] == '{"高兴": 0.0, "愤怒": 0.1, "悲伤": 0.9}'  # without the thinking before it
    assert found["marks_are_removed"]
    assert found["label"] == "sad" and found["weights"] == [0, 0.1, 0.9, 0, 0, 0, 0, 0]
    assert found["explanation"] == "the emotion model: angry 0.10, sad 0.90"
    assert "no config.json" in found["empty"]
    assert "weights do not fit" in found["incomplete"] and "q_norm" in found["incomplete"]
    assert "cannot load" in found["damaged"]
