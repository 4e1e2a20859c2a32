"""A real Prometheus scrapes a node, evaluates our rules, and answers the questions of the dashboard (OPS-01)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from callcontrol.api.server import HttpServer
from loadtests import ports
from tests.observability.test_rules_and_dashboards import DASHBOARDS, PROMETHEUS, expressions
from tests.support.api import app_over
from tests.support.fake_node import FakeNode

PATIENCE_S = 60.0


def configuration(target: str) -> str:
    """The shipped configuration, at another address and in a hurry."""
    text = (PROMETHEUS / "prometheus.yml").read_text()
    text = re.sub(r"(scrape|evaluation)_interval: \S+", r"\1_interval: 1s", text)
    text = re.sub(r"- (recording|alerts)\.yml", rf"- {PROMETHEUS}/\1.yml", text)
    return text.replace("127.0.0.1:8080", target)


def question(expression: str) -> str:
    """An expression of the dashboard with its variables filled in as Grafana does."""
    filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$trunk", ".*")
    return re.sub(r"label_values\((\w+), \w+\)", r"\1", filled)


@pytest.mark.rule("OPS-01")
@pytest.mark.needs("prometheus")
def test_prometheus_scrapes_and_understands(program: Callable[[str], str], tmp_path: Path) -> None:
    async def scenario() -> None:
        server = HttpServer(app_over(FakeNode()), "127.0.0.1", 0)
        await server.start()
        (tmp_path / "prometheus.yml").write_text(configuration(server.url.removeprefix("http://")))
        port = ports.free_port()
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program("prometheus"),
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                stdout=log,
                stderr=log,
            )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
                await scraped(client, tmp_path / "log", process)
                texts = [text for path in DASHBOARDS for text in expressions(json.loads(path.read_text()))]
                for text in texts:
                    answer = await client.get("/api/v1/query", params={"query": question(text)})
                    assert answer.json()["status"] == "success", (text, answer.text)
                rules = (await client.get("/api/v1/rules")).json()["data"]["groups"]
                states = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
                assert len(states) > 15
                assert {name for name, health in states.items() if health == "err"} == set()
        finally:
            process.terminate()
            await process.wait()
            await server.stop()

    asyncio.run(scenario())


def tail(log: Path) -> str:
    """The end of a log, for the message of a failed test."""
    return log.read_text(errors="replace")[-2000:]


async def scraped(client: httpx.AsyncClient, log: Path, process: asyncio.subprocess.Process) -> None:
    """Wait for the first good scrape."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while loop.time() < deadline:
        assert process.returncode is None, tail(log)
        try:
            answer = await client.get("/api/v1/query", params={"query": 'up{job="cloudline"} == 1'})
            if answer.status_code == 200 and answer.json()["data"]["result"]:
                return
        except httpx.TransportError:
            pass  # it is still starting
        await asyncio.sleep(0.1)
    pytest.fail(f"Prometheus did not scrape the node:\n{tail(log)}")
