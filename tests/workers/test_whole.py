"""The node as its operator sees it when it is several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from callcontrol.call_places import CallKey
from callcontrol.node_view import ComponentView, ReloadView
from callcontrol.workers import whole as module
from callcontrol.workers.merging import Page
from callcontrol.workers.whole import Part, WholeNode
from tests.support.fake_node import FakeNode
from tests.transport.support import until
from tests.workers.test_front import Node, node


class Own(FakeNode):
    """One worker's part: calls of its own, numbered so that those of all interleave."""

    def __init__(self, running: list[int], ended: list[int]) -> None:
        super().__init__(0, 0)
        self.running = [f"c-{number}" for number in running]
        self.ended = [f"e-{number}" for number in ended]


def page() -> Page:
    return [("cloudline_calls", "gauge", "Calls.", [("cloudline_calls", {"state": "talking"}, 2.0)])]


def run(story: Callable[[Node, WholeNode, list[Own]], Awaitable[None]], parts: list[Own]) -> None:
    async def main() -> None:
        async with node(len(parts)) as made:
            for number, part in enumerate(parts, 1):
                Part(made.workers[number].seat, part, page)
            await story(made, WholeNode(made.workers[1].seat, parts[0], "node-1", page), parts)

    asyncio.run(main())


async def keys(
    whole: WholeNode, ended: bool = False, place: tuple[float, str] | None = None
) -> list[CallKey]:
    return [key async for key in whole.call_keys(ended, place)]


def test_calls_of_all_are_one_list_the_latest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 2)

    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        found = await keys(whole)
        assert [key.ref for key in found] == [f"c-{number}" for number in range(1, 10)]
        place = (found[3].started_at, found[3].ref)
        assert [key.ref for key in await keys(whole, place=place)] == [
            f"c-{number}" for number in range(5, 10)
        ]
        assert [key.ref for key in await keys(whole, ended=True)] == ["e-1", "e-2"]
        await made.lose(3)
        assert {key.ref for key in await keys(whole)} == {f"c-{n}" for n in (1, 2, 3, 5, 6, 8)}

    run(story, [Own([1, 5, 8], [2]), Own([2, 3, 6], []), Own([4, 7, 9], [1])])


def test_a_call_is_found_shown_and_ended_wherever_it_is() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        for ref in ("c-1", "c-2", "e-3"):
            view, key = await whole.call(ref), await whole.call_key(ref)
            assert view is not None
            assert key is not None
            assert (view.ref, key.ref) == (ref, ref)
            assert await whole.ladder(ref) is not None
        assert await whole.call("c-9") is None
        assert await whole.call_key("c-9") is None
        assert await whole.ladder("c-9") is None
        assert await whole.hang_up("c-2")
        assert parts[1].hung_up == ["c-2"]
        assert not await whole.hang_up("c-9")

    run(story, [Own([1], []), Own([2], [3])])


def test_where_a_call_runs_counts_more_than_where_it_ran() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        view = await whole.call("x-1")
        assert view is not None
        assert view.state == "talking"

    first, second = Own([], []), Own([], [])
    first.ended, second.running = ["x-1"], ["x-1"]
    run(story, [first, second])


def test_the_node_shows_its_workers() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        made.front.answer = lambda question: question  # the supervisor's part
        view = await whole.info()
        assert (view.id, view.calls, len(view.workers)) == ("node-1", 3, 2)
        assert [each.calls for each in view.workers] == [1, 2]
        parts[1].draining = True
        assert (await whole.info()).draining

    run(story, [Own([1], []), Own([2, 3], [])])


def test_a_part_is_well_when_it_is_well_everywhere() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        assert all(part.ok for part in await whole.health())
        parts[1].parts = (ComponentView(name="database", ok=False, detail="gone"),)
        health = {part.name: part for part in await whole.health()}
        assert not health["database"].ok
        assert health["database"].detail == "worker 2: gone"
        ready = {part.name: part for part in await whole.readiness()}
        assert not ready["database"].ok
        assert ready["workers"].ok
        await made.lose(2)
        ready = {part.name: part for part in await whole.readiness()}
        assert all(part.ok for part in ready.values())
        assert ready["workers"].detail == "worker 2 is away"

    run(story, [Own([], []), Own([], [])])


def test_a_reload_is_good_when_it_is_good_everywhere() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        view = await whole.reload()
        assert view.ok
        assert view.changes == ("calls.ring_seconds",)
        parts[1].reload_view = ReloadView(ok=False, problems=("sip.tls: expired",))
        view = await whole.reload()
        assert not view.ok
        assert view.problems == ("sip.tls: expired",)
        assert [part.reloads for part in parts] == [2, 2]

    run(story, [Own([], []), Own([], [])])


def test_a_drain_goes_through_the_front() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        orders: list[str] = []
        made.front.on_order = orders.append
        view = await whole.drain()
        assert view.draining
        await until(lambda: orders)
        assert orders == ["drain"]

    run(story, [Own([], []), Own([], [])])


def test_metrics_are_those_of_all() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        assert b'cloudline_calls{state="talking"} 4.0' in await whole.metrics_page()

    run(story, [Own([], []), Own([], [])])


def test_a_lifted_ban_is_lifted_everywhere() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        heard: list[object] = []
        made.workers[2].seat.listen("lift_ban", lambda worker, address: heard.append(address))
        assert whole.lift_ban("198.51.100.7")
        await until(lambda: heard)
        assert heard == ["198.51.100.7"]

    run(story, [Own([], []), Own([], [])])


def test_views_come_through_unchanged() -> None:
    async def story(made: Node, whole: WholeNode, parts: list[Own]) -> None:
        assert await whole.call("c-2") == await parts[1].call("c-2")
        assert await whole.call("e-3") == await parts[1].call("e-3")
        assert await whole.ladder("c-2") == await parts[1].ladder("c-2")
        assert await whole.story("c-2") == await parts[1].story("c-2")
        assert replace(await whole.info(), id="", workers=()) == replace(
            await whole.info(), id="", workers=()
        )

    run(story, [Own([], []), Own([2], [3])])
