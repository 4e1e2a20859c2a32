"""Front and workers together in one process: real sockets and pipes, endpoints that only write down what they get."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from callcontrol.ids import CallRefs
from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.transport.driver import Driver
from callcontrol.transport.ports import OpenGate
from callcontrol.transport.streams import OWN_BITS
from callcontrol.workers import frames
from callcontrol.workers.front import AWAY, GONE, UP, Front
from callcontrol.workers.pipe import Pipe, pair
from callcontrol.workers.seat import NoAnswer, Seat, WorkerSockets
from tests.transport.support import until
from tests.workers.test_compass import answer, own_via, request

HOST = "127.0.0.1"


class Clock:
    def monotonic(self) -> Monotonic:
        return Monotonic(time.monotonic())


class Endpoint:
    """Writes down what it is given; what is put into ``out`` is sent."""

    def __init__(self) -> None:
        self.out: list[tuple[Flow, bytes]] = []
        self.listeners = Listeners()
        self.received: list[tuple[bytes, Flow]] = []
        self.lost: list[int] = []
        self.failed: list[Flow] = []

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        self.received.append((data, flow))

    def tick(self, now: float) -> None: ...

    def next_deadline(self) -> float | None:
        return None

    def connection_lost(self, conn_id: int, now: float, flow: Flow | None = None) -> None:
        self.lost.append(conn_id)

    def send_failed(self, flow: Flow, now: float) -> None:
        self.failed.append(flow)


class Worker:
    def __init__(self, number: int, seat: Seat, endpoint: Endpoint, driver: Driver) -> None:
        self.number = number
        self.seat = seat
        self.endpoint = endpoint
        self.driver = driver

    @property
    def messages(self) -> list[bytes]:
        return [data for data, _ in self.endpoint.received]


class Sockets:
    mark = ""
    reads = True
    first_connection = 0

    def __init__(self) -> None:
        self.bound: list[socket.socket] = []

    def udp(self, host: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)
        sock.bind((host, port))
        self.bound.append(sock)
        return sock

    def tcp(self, host: str, port: int) -> socket.socket:
        raise AssertionError("the front has no connections")


class Node:
    def __init__(self, workers: int) -> None:
        self.front = Front(workers, time.monotonic)
        self.sockets = Sockets()
        self.driver = Driver(self.front, Clock(), lambda: None, OpenGate(), sockets=self.sockets)
        self.workers: dict[int, Worker] = {}
        self.tcp_port = 0
        self.phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.phone.bind((HOST, 0))
        self.phone.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        bound: tuple[str, int] = self.sockets.bound[0].getsockname()
        return bound

    async def open(self) -> None:
        await self.driver.start([f"udp:{HOST}:0"])
        self.front.open(self.driver)
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.tcp_port = probe.getsockname()[1]
        for number in self.front.desks:
            await self.begin(number)

    async def begin(self, number: int, *, ready: bool = True) -> Worker:
        """A process of a worker starts."""
        ours, theirs = pair()
        self.front.connect(number, Pipe(ours))
        host, port = self.address
        sockets = WorkerSockets(number, {(host, port): self.sockets.bound[0].dup().detach()})
        seat = Seat(number, len(self.front.desks), Pipe(theirs), [f"udp:{host}:{port}"], sockets)
        endpoint = Endpoint()
        sorter = seat.guard(endpoint)  # type: ignore[arg-type]  # it writes down what the real one would take
        driver = Driver(
            sorter,
            Clock(),
            lambda: None,
            OpenGate(),
            sockets=sockets,
            on_connection_lost=seat.connection_lost,
        )
        await driver.start([f"udp:{host}:{port}", f"tcp:{host}:{self.tcp_port}"])
        seat.open(driver, OpenGate(), Clock().monotonic)
        worker = self.workers[number] = Worker(number, seat, endpoint, driver)
        if ready:
            seat.ready({})
            await until(lambda: self.front.desks[number].state == UP)
            others = [each for each in self.workers.values() if each.number != number]
            await until(lambda: all(number not in each.seat.away for each in others))
        return worker

    async def lose(self, number: int, *, finished: bool = False) -> None:
        """Its process dies."""
        worker = self.workers.pop(number)
        await worker.driver.stop(0)
        worker.seat.close()
        self.front.disconnect(number, finished=finished)
        await until(lambda: all(number in each.seat.away for each in self.workers.values()))

    def send(self, data: bytes) -> None:
        self.phone.sendto(data, self.address)

    async def close(self) -> None:
        for worker in self.workers.values():
            await worker.driver.stop(0)
            worker.seat.close()
        await self.driver.stop(0)
        self.front.close()
        self.phone.close()


@asynccontextmanager
async def node(workers: int = 2) -> AsyncIterator[Node]:
    made = Node(workers)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def run(story: Callable[[Node], Awaitable[None]], workers: int = 2) -> None:
    async def main() -> None:
        async with node(workers) as made:
            await story(made)

    asyncio.run(main())


def for_worker(made: Node, number: int, method: str = "INVITE", **words: str) -> bytes:
    """A request that belongs to this worker by its Call-ID."""
    for n in range(200):
        data = request(method, "sip:+33639981001@cloudline.example", f"{method}-{n}@x", **words)
        if made.front.compass.owner(data) == number:
            return data
    raise AssertionError("the hash gives it nothing")


def test_each_worker_gets_its_own_and_answers_by_itself() -> None:
    async def story(made: Node) -> None:
        for number in (1, 2):
            invite = for_worker(made, number)
            made.send(invite)
            worker = made.workers[number]
            await until(lambda: worker.messages == [invite])  # noqa: B023 - awaited within this round
            flow = worker.endpoint.received[0][1]
            assert (flow.host, flow.port) == made.phone.getsockname()
            worker.endpoint.out.append((flow, b"SIP/2.0 100 Trying\r\n\r\n"))
            worker.driver.kick()
            loop = asyncio.get_running_loop()
            data, source = await asyncio.wait_for(loop.sock_recvfrom(made.phone, 2000), 5)
            assert data.startswith(b"SIP/2.0 100")
            assert source == made.address
        assert [made.front.desks[n].passed for n in (1, 2)] == [1, 1]

    run(story)


def test_our_via_tells_the_worker() -> None:
    async def story(made: Node) -> None:
        for number in (1, 2):
            via = made.workers[number].endpoint.listeners.all()[0].via
            assert via.startswith(own_via(number).partition("127.0.0.1")[0])
            made.send(answer(180, own_via(number), "anything@else"))
            await until(lambda: len(made.workers[number].messages) == 1)  # noqa: B023 - awaited within this round

    run(story)


def test_keep_alives_are_answered_in_front() -> None:
    async def story(made: Node) -> None:
        made.send(b"\r\n\r\n")
        made.send(bytes.fromhex("000100002112a442") + bytes(12))
        data, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(made.phone, 2000), 5)
        assert data[:2] == b"\x01\x01"
        assert not made.workers[1].messages
        assert not made.workers[2].messages

    run(story)


@pytest.mark.rule("LIVE-03")
def test_what_only_a_dead_worker_knows_waits_for_it_and_the_rest_goes_on() -> None:
    async def story(made: Node) -> None:
        bye = for_worker(made, 2, "BYE", to="<sip:b@c>;tag=2")
        invite = for_worker(made, 2)
        cancel = request(
            "CANCEL",
            "sip:+33639981001@cloudline.example",
            invite.decode().split("Call-ID: ")[1].split("\r")[0],
        )
        await made.lose(2)
        made.send(bye)
        made.send(invite)
        made.send(cancel)
        first = made.workers[1]
        await until(lambda: len(first.messages) == 2)
        assert first.messages == [invite, cancel]
        assert made.front.stood_in == 1
        made.front.desks[2].restarts = 1
        again = await made.begin(2, ready=False)
        assert made.front.desks[2].state == AWAY
        again.seat.ready({})
        await until(lambda: again.messages == [bye])
        made.send(invite)  # repeated: it stays where it was placed
        await until(lambda: len(first.messages) == 3)
        assert again.messages == [bye]

    run(story)


def test_what_waits_is_bounded() -> None:
    async def story(made: Node) -> None:
        bye = for_worker(made, 2, "BYE", to="<sip:b@c>;tag=2")
        await made.lose(2)
        desk = made.front.desks[2]
        flow = Flow("udp", HOST, 9, f"udp:{HOST}:{made.address[1]}")
        for _ in range(2_100):
            made.front.receive(bye, flow, Monotonic(time.monotonic()))
        assert len(desk.held) == 2_000
        assert made.front.dropped["too many wait"] == 100
        made.front.receive(bye, flow, Monotonic(time.monotonic() + 20))
        assert len(desk.held) == 1
        assert made.front.dropped["too old"] == 2_000

    run(story)


@pytest.mark.rule("LIVE-02")
def test_a_call_that_another_worker_took_over_is_found_there_at_once() -> None:
    async def story(made: Node) -> None:
        ref = CallRefs(lambda n: bytes(range(n)), 1, 2).new()
        bye = request("BYE", f"sip:{ref}.a@h", "x@y", to="<sip:b@c>;tag=2")
        await made.lose(2)
        made.send(bye)
        await until(lambda: len(made.front.desks[2].held) == 1)
        made.workers[1].seat.moved(ref)
        await until(lambda: made.workers[1].messages == [bye])
        made.send(bye)
        await until(lambda: len(made.workers[1].messages) == 2)
        assert not made.front.desks[2].held

    run(story)


def test_a_worker_that_has_finished_is_replaced_by_the_others() -> None:
    async def story(made: Node) -> None:
        await made.lose(2, finished=True)
        assert made.front.desks[2].state == GONE
        for method in ("INVITE", "BYE"):
            made.send(for_worker(made, 2, method, to="<sip:b@c>;tag=2" if method == "BYE" else "<sip:b@c>"))
        await until(lambda: len(made.workers[1].messages) == 2)

    run(story)


def test_messages_over_a_connection_come_to_their_worker_and_its_answers_go_back() -> None:
    async def story(made: Node) -> None:
        reader, writer = await asyncio.open_connection(HOST, made.tcp_port)
        messages = {number: for_worker(made, number, "OPTIONS") for number in (1, 2)}
        writer.write(messages[1] + messages[2])
        await until(lambda: all(made.workers[n].messages == [messages[n]] for n in (1, 2)))
        flows = {number: made.workers[number].endpoint.received[0][1] for number in (1, 2)}
        assert flows[1] == flows[2]
        holder = flows[1].conn >> OWN_BITS
        for number in (1, 2):
            made.workers[number].endpoint.out.append((flows[number], b"SIP/2.0 200 from %d\r\n\r\n" % number))
            made.workers[number].driver.kick()
            assert (
                await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                == b"SIP/2.0 200 from %d\r\n\r\n" % number
            )
        other = made.workers[3 - holder]
        assert other.seat.reaches(flows[1].conn)
        assert other.seat.passed == {"in": 1, "out": 0}
        assert made.workers[holder].seat.passed == {"in": 0, "out": 1}
        # a registration stays where its connection is, whatever its hash says
        writer.write(b"".join(request("REGISTER", "sip:h", f"r{n}", to=f"<sip:u{n}@h>") for n in range(6)))
        await until(lambda: len(made.workers[holder].messages) == 7)
        assert len(other.messages) == 1
        # its end is told to all
        writer.close()
        await until(lambda: other.endpoint.lost == [flows[1].conn])
        other.endpoint.out.append((flows[1], b"SIP/2.0 200 too late\r\n\r\n"))
        other.driver.kick()
        await until(lambda: other.endpoint.failed == [flows[1]])

    run(story)


def test_a_connection_is_closed_for_another_worker() -> None:
    async def story(made: Node) -> None:
        reader, writer = await asyncio.open_connection(HOST, made.tcp_port)
        messages = {number: for_worker(made, number, "OPTIONS") for number in (1, 2)}
        writer.write(messages[1] + messages[2])
        await until(lambda: all(len(made.workers[n].messages) == 1 for n in (1, 2)))
        conn = made.workers[1].endpoint.received[0][1].conn
        holder = conn >> OWN_BITS
        assert not made.workers[holder].seat.close_connection(conn)
        assert made.workers[3 - holder].seat.close_connection(conn)
        made.workers[3 - holder].driver.kick()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    run(story)


def test_a_connection_of_a_dead_worker_fails_at_once() -> None:
    async def story(made: Node) -> None:
        await made.lose(2)
        flow = Flow("tcp", HOST, 4, f"tcp:{HOST}:{made.tcp_port}", (2 << OWN_BITS) + 77)
        worker = made.workers[1]
        assert not worker.seat.reaches(flow.conn)
        worker.endpoint.out.append((flow, b"INVITE sip:x SIP/2.0\r\n\r\n"))
        worker.driver.kick()
        await until(lambda: worker.endpoint.failed == [flow])

    run(story)


def test_icmp_errors_are_told_to_all() -> None:
    async def story(made: Node) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind((HOST, 0))
            port = nobody.getsockname()[1]
        flow = Flow("udp", HOST, port, f"udp:{HOST}:{made.address[1]}")
        made.workers[2].endpoint.out.append((flow, b"OPTIONS sip:x SIP/2.0\r\n\r\n"))
        made.workers[2].driver.kick()
        await until(lambda: all(each.endpoint.failed[:1] == [flow] for each in made.workers.values()))

    run(story)


def test_workers_ask_each_other_and_hear_news() -> None:
    async def story(made: Node) -> None:
        heard: list[tuple[int, object]] = []
        one, two = made.workers[1].seat, made.workers[2].seat

        async def double(words: object) -> object:
            assert isinstance(words, int)
            return 2 * words

        two.serve("double", double)
        two.listen("weather", lambda worker, words: heard.append((worker, words)))
        assert await one.ask(2, "double", 21) == 42
        assert await one.ask_all("double", 4) == {2: 8}
        with pytest.raises(NoAnswer):
            await one.ask(2, "unheard of")
        with pytest.raises(NoAnswer, match="AssertionError"):
            await one.ask(2, "double", "x")
        one.tell("weather", {"sun": True})
        await until(lambda: heard == [(1, {"sun": True})])
        await made.lose(2)
        with pytest.raises(NoAnswer, match="away"):
            await one.ask(2, "double", 1)
        assert await one.ask_all("double", 4) == {}

    run(story)


def test_orders_reach_all_who_serve() -> None:
    async def story(made: Node) -> None:
        heard: dict[int, list[str]] = {1: [], 2: []}
        asked: list[str] = []
        for number, worker in made.workers.items():
            worker.seat.on_order = heard[number].append
        made.front.on_order = asked.append
        made.workers[2].seat.order("drain")
        await until(lambda: asked == ["drain"])
        made.front.order("drain")
        await until(lambda: heard == {1: ["drain"], 2: ["drain"]})

    run(story)


def test_how_long_datagrams_waited_is_known_to_the_worker() -> None:
    async def story(made: Node) -> None:
        made.send(for_worker(made, 1))
        worker = made.workers[1]
        await until(lambda: len(worker.messages) == 1)
        now = time.monotonic()
        assert 0 <= worker.seat.delay_s(now) < 1.0
        assert worker.driver.queue_delay_s() == worker.seat.delay_s(now)
        assert worker.seat.delay_s(now + 5) == 0.0

    run(story)


def test_a_worker_that_does_not_read_loses_datagrams_and_the_other_none() -> None:
    async def story(made: Node) -> None:
        pipe = made.front.desks[2].pipe
        assert pipe is not None
        pipe.max_waiting = 3_000
        flow = Flow("udp", HOST, 9, f"udp:{HOST}:{made.address[1]}")
        slow, quick = for_worker(made, 2), for_worker(made, 1)
        for _ in range(20):  # within one turn nothing is written
            made.front.receive(slow, flow, Monotonic(time.monotonic()))
            made.front.receive(quick, flow, Monotonic(time.monotonic()))
        assert made.front.dropped["backlog"] > 10
        made.driver.kick()
        await until(lambda: len(made.workers[1].messages) == 20)
        assert len(made.workers[2].messages) < 10

    run(story)


def test_a_worker_that_says_no_frames_is_given_up() -> None:
    async def story(made: Node) -> None:
        broken: list[int] = []
        made.front.on_broken = broken.append
        pipe = made.front.desks[2].pipe
        assert pipe is not None
        made.workers[2].seat._pipe.sock.send(b"\xff" * 20)
        await until(lambda: broken == [2])
        assert made.front.desks[2].state == AWAY

    run(story)


def test_the_end_of_the_front_is_told() -> None:
    async def story(made: Node) -> None:
        told: list[bool] = []
        made.workers[1].seat.on_front_gone = lambda: told.append(True)
        pipe = made.front.desks[1].pipe
        assert pipe is not None
        made.driver.detach(made.front.desks[1], pipe.sock)
        made.front.desks[1].pipe = None
        await until(lambda: told == [True])

    run(story)


def test_kinds_of_frames_are_distinct() -> None:
    kinds = [
        value
        for name, value in vars(frames).items()
        if name.isupper() and name not in ("MAX_PAYLOAD", "FRONT", "EVERYBODY", "HEAD")
    ]
    assert len(kinds) == len(set(kinds)) > 10
