"""Alert rules and dashboards ask only for metrics that exist, and the real programs accept them (OPS-01)."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callcontrol.metric_catalogue import CATALOGUE, PREFIX, all_series
from tests.support.metrics_page import full_metrics

ROOT = Path(__file__).resolve().parent.parent.parent
PROMETHEUS = ROOT / "config" / "prometheus"
DASHBOARDS = sorted((ROOT / "config" / "grafana").glob("*.json"))
RECORDED = re.compile(r"[a-z]+:cloudline_[a-z_]+:[a-z0-9_]+")
NAME = re.compile(r"(?<![a-z0-9_:])cloudline_[a-z0-9_]+")
LABELS = re.compile(r"(?<![a-z0-9_:])(cloudline_[a-z0-9_]+)\{([^}]*)\}")
# Labels that Prometheus, not the node, puts on a series.
FROM_PROMETHEUS = {"instance", "job", "le"}

pytestmark = pytest.mark.rule("OPS-01")


def rule_text() -> str:
    return (PROMETHEUS / "recording.yml").read_text() + (PROMETHEUS / "alerts.yml").read_text()


def recorded() -> set[str]:
    return set(re.findall(r"record: (\S+)", rule_text()))


def expressions(node: Any) -> Iterator[str]:
    """Every PromQL text of a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str) and "cloudline" in value:
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)


def exported() -> set[str]:
    """What a page really shows: our catalogue, and what the client library adds about the process."""
    shown = {line.split("{")[0].split(" ")[0] for line in full_metrics().render().decode().splitlines()}
    return {name for name in shown if not name.startswith("#")} | all_series()


def unknown_names(text: str) -> set[str]:
    return {name for name in NAME.findall(RECORDED.sub("", text)) if name not in exported()}


def wrong_labels(text: str) -> set[str]:
    """``metric{label}`` for each label matched on a metric that does not have it."""
    by_series = {series: set(metric.labels) for metric in CATALOGUE.values() for series in metric.series}
    return {
        f"{name}{{{label}}}"
        for name, matchers in LABELS.findall(text)
        for label in re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", matchers)
        if name in by_series and label not in by_series[name] | FROM_PROMETHEUS
    }


def test_rules_ask_for_what_exists() -> None:
    text = "\n".join(
        line for line in rule_text().splitlines() if "remedy:" not in line and "summary:" not in line
    )
    text = re.sub(r"(alert|name|record): \S+", "", text)
    assert NAME.search(text)
    assert not unknown_names(text)
    assert not wrong_labels(text)
    assert set(RECORDED.findall(text)) <= recorded()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboards_ask_for_what_exists(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    texts = list(expressions(dashboard))
    assert len(texts) > 20
    assert {name for text in texts for name in unknown_names(text)} == set()
    assert {label for text in texts for label in wrong_labels(text)} == set()
    assert {name for text in texts for name in RECORDED.findall(text)} <= recorded()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_checks_above_find_mistakes() -> None:
    assert unknown_names("rate(cloudline_no_such_total[5m])") == {"cloudline_no_such_total"}
    assert wrong_labels('cloudline_calls{user="ana"}') == {"cloudline_calls{user}"}


def test_every_alert_has_a_remedy() -> None:
    text = (PROMETHEUS / "alerts.yml").read_text()
    alerts = text.count("- alert: ")
    assert alerts == text.count("remedy: ") == text.count("summary: ") == text.count("severity: ")


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml", "alerts_week_test.yml")],
    ids=["config", "rules"],
)
def test_promtool_agrees(program: Callable[[str], str], arguments: tuple[str, ...]) -> None:
    result = subprocess.run(
        [program("promtool"), *arguments],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_prefix_is_ours() -> None:
    page = full_metrics().render().decode()
    names = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    foreign = {name for name in names if not name.startswith((PREFIX, "python_gc_"))}
    assert foreign == set()
