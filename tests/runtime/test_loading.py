"""Which engines the settings ask for, in which order, and on which device each is loaded."""

import subprocess
import sys

import pytest
import torch

from intone.server import ops
from intone.server.config import Config
from intone.server.engines import devices
from intone.server.engines.base import EngineEntry, EngineSetting, LoadSpec
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.errors import ConfigError
from intone.server.runtime import launching
from intone.server.runtime.loading import loaders
from tests.support.fakes import ScriptedEngine

ENGINE = "tests.runtime.test_loading:Recorder"


class Recorder(ScriptedEngine):
    """Keeps what it was loaded with."""

    spec: LoadSpec

    @classmethod
    def load(cls, spec):
        engine = cls()
        engine.spec = spec
        return engine


def entry(name, **changes):
    return EngineEntry(
        name, ENGINE, (EngineSetting(name, False, "load it"), EngineSetting(f"{name}_x", "y", "x")), **changes
    )


REGISTRY = {
    "one": entry("one", devices=("cpu", "cuda"), cpu_precision="bf16"),
    "two": entry("two"),
    "three": entry("three", unasked="builtins:dict"),
}


def specs(**settings):
    config = Config.of(REGISTRY, **settings)
    return {name: load().spec for name, load in loaders(config).items()}


def test_engines_are_loaded_with_their_own_settings_in_the_order_of_preference(tmp_path):
    found = specs(one=True, two=True, two_x="z", threads=3, dtype="int8", pack_cache=str(tmp_path))
    assert list(found) == ["one", "two"]
    assert found["one"] == LoadSpec(precision="int8", threads=3, cache=tmp_path, settings={"one": True, "one_x": "y"})
    assert found["two"] == LoadSpec(threads=3, cache=tmp_path, settings={"two": True, "two_x": "z"})
    assert list(specs(one=True, two=True, engine_order="two")) == ["two", "one"]


def test_without_engines_the_flags_are_named():
    with pytest.raises(ConfigError, match="there is no engine to load: give --one or --two or --three"):
        specs()


@pytest.mark.parametrize(
    ("device", "fault", "one"),
    [("cpu", "no GPU", "cpu"), ("auto", "no GPU", "cpu"), ("auto", "", "cuda"), ("cuda:1", "", "cuda:1")],
)
def test_a_device_reaches_the_engines_that_can_run_on_it(monkeypatch, device, fault, one):
    monkeypatch.setattr(devices, "cuda_fault", lambda device: fault)
    found = specs(one=True, two=True, device=device)
    assert {name: spec.device for name, spec in found.items()} == {"one": one, "two": "cpu"}


def test_voxcpm_is_built_on_its_device(monkeypatch):
    monkeypatch.setattr(devices, "cuda_fault", lambda device: "")
    monkeypatch.setattr(VoxCPMEngine, "random", lambda size, **how: (size, how["device"]))
    config = Config.of(voxcpm="nano", random_weights=True, device="cuda:1", starter=False)
    kernels_for: list[str] = []
    monkeypatch.setattr(ops, "ensure_built_for", kernels_for.append)
    assert loaders(config)["voxcpm"]() == ("nano", "cuda:1") and kernels_for == ["cuda:1"]


@pytest.mark.parametrize(
    ("device", "shared"), [("cuda", "cuda"), ("one=cuda:0,two=cuda", "cuda"), ("one=cuda,two=cuda:1", ""), ("cpu", "")]
)
def test_engines_that_take_turns_on_a_gpu_are_named(monkeypatch, caplog, device, shared):
    monkeypatch.setattr(devices, "cuda_fault", lambda device: "")
    registry = {name: entry(name, devices=("cpu", "cuda")) for name in ("one", "two")}
    chosen = loaders(Config.of(registry, one=True, two=True, device=device))
    launching._warn_of_turns(chosen)
    assert (f"one and two share {shared} from processes of their own" in caplog.text) is bool(shared)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"one": True, "device": "cuda"}, "device: cannot use cuda: no GPU. Or set device to cpu"),
        ({"one": True, "device": "one=cuda:9"}, "device: cannot use cuda:9: no GPU"),
        ({"two": True, "device": "cuda"}, "device is 'cuda', but the engines to load run on the CPU only: two"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_before_anything_is_loaded(monkeypatch, settings, message):
    monkeypatch.setattr(devices, "cuda_fault", lambda device: "no GPU")
    with pytest.raises(ConfigError, match=message):
        loaders(Config.of(REGISTRY, **settings))


@pytest.mark.parametrize(
    ("built_for", "available", "device", "message"),
    [
        (None, False, "cuda", "was built without CUDA: install a CUDA build of torch"),
        ("12.8", False, "cuda", "torch finds no usable GPU"),
        ("12.8", True, "cuda:2", "there is no such GPU: 2 found, cuda:0 to cuda:1"),
        ("12.8", True, "cuda:1", ""),
        ("12.8", True, "cuda", ""),
    ],
)
def test_why_cuda_cannot_be_used(monkeypatch, built_for, available, device, message):
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = devices.cuda_fault(device)
    assert message in found and bool(found) == bool(message)


def test_the_registry_costs_no_import_of_an_engine():
    heavy = "{'torch', 'onnxruntime', 'hibari'} & set(sys.modules)"
    asked = f"import sys, intone.server.engines.registry, intone.server.runtime.loading; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
