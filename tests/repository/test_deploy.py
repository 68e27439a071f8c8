"""The files in `deploy/` fit the server: metrics, labels and flags that they name exist."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import promql_parser
import pytest
import yaml

from intone.server.command_line import load, parser
from intone.server.conversation.audio_counts import AudioCounts
from intone.server.errors import Reason
from intone.server.events import AudioKind
from intone.server.rpc.collectors import ChildProcessMetrics, StreamMetrics, TextMetrics, VoiceMetrics
from intone.server.rpc.engine_metrics import EngineMetrics
from intone.server.rpc.metrics import Metrics
from intone.server.runtime.text_pool import TextPool
from intone.server.voices.store import VoiceStore

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/intone.json").read_text("utf8"))
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text("utf8"))["groups"]
    for rule in group["rules"]
]
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Metrics that Prometheus adds, with their labels."""

VALUES = {
    "reason": {reason.value for reason in Reason},
    "code": {code.name for code in grpc.StatusCode},
    "kind": {kind.value for kind in AudioKind},
    "job": {"intone"},
}
"""The values that labels can have, where they are few."""


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The series of a server, with their labels."""
    metrics = Metrics()
    for collector in (
        EngineMetrics({}),
        StreamMetrics(AudioCounts(), lambda: (0, 0, 0.0)),
        VoiceMetrics(VoiceStore()),
        TextMetrics(TextPool(1.0, 0, "intone.server.text.normalizer:Normalizer")),
        ChildProcessMetrics(dict),
    ):
        metrics.registry.register(collector)
    labels: dict[str, set[str]] = {}
    for collector in metrics.registry._collector_to_names:
        for family in collector.collect():
            own = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            labels[family.name] = {*own, "job", "instance"}
            for sample in family.samples:
                labels[family.name] |= set(sample.labels)
    assert len(labels) > 40
    found = dict(OF_PROMETHEUS)
    for family in metrics.registry.collect():
        names = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        for ending in names:
            found[family.name + ending] = labels[family.name] | ({"le"} if ending == "_bucket" else set())
    return found


def expressions() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            # What Grafana puts in place of its variables.
            text = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            yield pytest.param(text, id=f"{panel['title']} {target['refId']}".replace(" ", "_"))
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule["alert"])


@pytest.mark.parametrize("text", list(expressions()))
def test_an_expression_names_metrics_labels_and_values_that_exist(text: str, known: dict[str, set[str]]) -> None:
    selectors, grouped = parts_of(promql_parser.parse(text))
    assert selectors
    for selector in selectors:
        assert selector.name in known, selector.name
        for matcher in selector.matchers.matchers:
            assert matcher.name in known[selector.name], f"{selector.name} has no label {matcher.name}"
            if matcher.name in VALUES and matcher.value != ".*":
                assert set(matcher.value.split("|")) <= VALUES[matcher.name]
        assert grouped <= known[selector.name], f"{selector.name} has no label {grouped - known[selector.name]}"


def parts_of(expression: Any) -> tuple[list[Any], set[str]]:
    """The selectors of an expression, and the labels that it groups by."""
    selectors: list[Any] = []
    grouped: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)

    promql_parser.walk(expression, visit)
    return selectors, grouped


def test_every_metric_of_the_server_is_on_the_dashboard(known: dict[str, set[str]]) -> None:
    """So that nobody has to know its name; those of Python and of the process as a whole may be left out."""
    texts = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    shown = {family(name) for text in texts for name in re.findall(r"\btts_\w+", text)}
    missing = {family(name) for name in known if name.startswith("tts_")} - shown
    assert not missing, f"deploy/grafana/dashboards/intone.json has no panel of {missing}"


def family(series: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", series)


def test_the_dashboard_can_be_loaded() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places))
    for panel in DASHBOARD["panels"]:
        assert panel["title"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["targets"]
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}


def test_alerts_say_what_is_wrong() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 10
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"].endswith(".")
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


def flags_of(arguments: list[str]) -> list[str]:
    """The flags among them, each of which the server must know."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    known_flags = set(parser()._option_string_actions)
    assert flags and set(flags) <= known_flags, set(flags) - known_flags
    return flags


def unit() -> dict[str, list[str]]:
    """The keys of the systemd unit with their values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "intone-server.service").read_text("utf8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_systemd_unit_starts_the_server() -> None:
    (command,) = unit()["ExecStart"]
    program, *arguments = shlex.split(command)
    assert Path(program).name == "intone-server"
    flags_of(arguments)
    grace_s = load([]).drain_s
    assert float(unit()["TimeoutStopSec"][0]) > grace_s
    assert unit()["KillMode"] == ["mixed"]  # the server ends its processes itself


def test_systemd_accepts_the_unit(tmp_path: Path, require: Callable[..., Any]) -> None:
    program = require("systemd", shutil.which("systemd-analyze"), "no systemd-analyze")
    text = (DEPLOY / "intone-server.service").read_text("utf8").replace("/opt/intone/bin/intone-server", "/bin/true")
    path = tmp_path / "intone-server.service"
    path.write_text(text.replace("User=intone", "User=root"))
    done = subprocess.run([program, "verify", str(path)], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if "intone-server.service" in line]
    assert not said, said


def test_compose_starts_the_server_and_mounts_files_that_exist() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf8"))["services"]
    server = services["intone"]
    flags_of(server["command"])
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).is_file()
    made = {"./tokens"}  # by the command in the comment
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./") or source in made or (DEPLOY / source).exists(), source
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text("utf8"))["scrape_configs"][0]
    settings = load(["--config", str(DEPLOY / "intone.toml")])
    assert scraped["job_name"] == "intone"
    assert scraped["static_configs"][0]["targets"] == [f"intone:{settings.metrics_port}"]
    assert server["ports"] == [f"{settings.port}:{settings.port}"]
    assert float(server["stop_grace_period"].removesuffix("s")) > settings.drain_s


def test_the_image_has_what_it_copies_and_starts_the_server() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf8").replace("\\\n", " ").splitlines()
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    allowed = set((ROOT / ".dockerignore").read_text("utf8").splitlines())
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists() and f"!{source}" in allowed, source
    (entry,) = (json.loads(line.removeprefix("ENTRYPOINT ")) for line in lines if line.startswith("ENTRYPOINT "))
    (command,) = (json.loads(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD "))
    assert entry == ["intone-server"]
    flags_of(command)
    settings = load(["--config", str(DEPLOY / "intone.toml")])
    (exposed,) = (line.split()[1:] for line in lines if line.startswith("EXPOSE "))
    assert exposed == [str(settings.port), str(settings.metrics_port)]
    assert any(f"http://127.0.0.1:{settings.metrics_port}/health" in line for line in lines)
