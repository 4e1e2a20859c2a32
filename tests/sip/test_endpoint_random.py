"""Random interleavings: nothing raises, every transaction ends, each request of ours has exactly one outcome."""

from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.events import RequestReceived, ResponseReceived, TransactionFailed
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import parse
from tests.support.exchanges import LOCAL, PEER, Bench, arriving, request_data, response_to

METHODS = ("INVITE", "OPTIONS", "BYE", "CANCEL", "ACK", "INVENTED")
STATUSES = (100, 101, 180, 183, 200, 202, 302, 401, 408, 486, 487, 503, 603, 699)
BIG = b"a=x\r\n" * 300
FLOWS = (
    Flow("udp", PEER, 5060, f"udp:{LOCAL}:5060"),
    Flow("tcp", PEER, 5060, f"tcp:{LOCAL}:5060"),
    Flow("tcp", PEER, 5060, f"tcp:{LOCAL}:5060", 7),
    Flow("wss", PEER, 40000, f"wss:{LOCAL}:5060", 8),
)

small = st.integers(0, 2)
step = st.one_of(
    st.tuples(
        st.just("arrive"),
        st.sampled_from(METHODS),
        small,
        st.sampled_from(FLOWS),
        st.sampled_from(["", "bob"]),
    ),
    st.tuples(st.just("arrive old"), st.sampled_from(METHODS), small, st.sampled_from(FLOWS)),
    st.tuples(
        st.just("send"),
        st.sampled_from(METHODS[:4]),
        small,
        st.sampled_from(FLOWS),
        st.sampled_from([b"", BIG]),
    ),
    st.tuples(st.just("respond"), small, st.sampled_from(STATUSES)),
    st.tuples(st.just("answer"), small, st.sampled_from(STATUSES)),
    st.tuples(st.just("claim"), small),
    st.tuples(st.just("lose"), st.sampled_from(FLOWS)),
    st.tuples(st.just("fail"), st.sampled_from(FLOWS)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.2, 0.7, 4.0, 5.1, 31.0, 33.0])),
    st.tuples(st.just("tick late"), st.sampled_from([0.5, 3.0, 40.0])),
    st.tuples(st.just("garbage"), st.binary(max_size=60)),
)


class World:
    """The endpoint, the requests that it sent and those that it was sent."""

    def __init__(self) -> None:
        self.bench = Bench(max_transactions=12)
        self.requests: list[bytes] = []
        self.pending: list[tuple[str, bytes]] = []
        self.started: dict[tuple[str, str], int] = {}
        self.ended: dict[tuple[str, str], int] = {}
        self.count = 0

    def play(self, action: tuple[object, ...]) -> None:
        bench, endpoint = self.bench, self.bench.endpoint
        match action:
            case ("arrive", str(method), int(n), Flow() as flow, str(tag)):
                data = arriving(method, f"z9hG4bK-{n}", transport=flow.transport.upper(), to_tag=tag)
                endpoint.receive(data, flow, bench.now)
            case ("arrive old", str(method), int(n), Flow() as flow):
                endpoint.receive(arriving(method, via=f"SIP/2.0/UDP {PEER}", cseq=n), flow, bench.now)
            case ("send", str(method), int(n), Flow() as flow, bytes(body)):
                self.send(method, n, flow, body)
            case ("respond", int(n), int(status)) if self.requests:
                request = self.requests[-1 - n % len(self.requests)]
                endpoint.receive(response_to(request, status), FLOWS[n], bench.now)
            case ("answer", int(n), int(status)) if self.pending:
                key, data = self.pending[-1 - n % len(self.pending)]
                endpoint.send_response(key, status, response_to(data, status), bench.now)
            case ("claim", int(n)) if self.pending:
                endpoint.claim(self.pending[-1 - n % len(self.pending)][0], self)
            case ("lose", Flow() as flow):
                endpoint.connection_lost(flow.conn, bench.now, flow)
            case ("fail", Flow() as flow):
                endpoint.send_failed(flow, bench.now)
            case ("wait", float(seconds)):
                self.run(bench.now + seconds)
            case ("tick late", float(seconds)):
                bench.now += seconds
                endpoint.tick(bench.now)
            case ("garbage", bytes(data)):
                endpoint.receive(data, FLOWS[0], bench.now)
        self.drain()

    def send(self, method: str, n: int, flow: Flow, body: bytes) -> None:
        """A CANCEL is sent for an INVITE that exists; whether it goes out is the endpoint's affair."""
        if method == "CANCEL":
            n = max(self.count - n, 0)
        else:
            self.count += 1
            n = self.count
            self.started[f"z9hG4bK-c{n}", method] = 0
        data = request_data(method, body=body)
        branch = f"z9hG4bK-c{n}"
        self.bench.endpoint.send_request(branch, method, data, flow, self.bench.now, self)

    def drain(self) -> None:
        endpoint = self.bench.endpoint
        for _, data in endpoint.out:
            message = parse(data)  # whatever we send is well-formed
            if message.is_request and message.method != "ACK":
                self.requests = [*self.requests[-5:], data]
        endpoint.out.clear()
        for event in endpoint.events:
            match event:
                case RequestReceived():
                    self.pending = [*self.pending[-5:], (event.key, event.message.data)]
                case ResponseReceived() if event.message.status >= 200 or event.message.method == "INVITE":
                    if event.message.status >= 200:
                        self.outcome(event.branch, event.message.method, event.message.status)
                case TransactionFailed():
                    self.outcome(event.branch, event.method, 0)
        endpoint.events.clear()

    def outcome(self, branch: str, method: str, status: int) -> None:
        if method == "INVITE" and 200 <= status < 300:
            self.ended.setdefault((branch, method), 1)  # every copy of a 2xx is passed up
        else:
            self.ended[branch, method] = self.ended.get((branch, method), 0) + 1

    def run(self, until: float) -> None:
        endpoint = self.bench.endpoint
        while (due := endpoint.next_deadline()) is not None and due <= until:
            self.bench.now = max(self.bench.now, due)
            endpoint.tick(self.bench.now)
            self.drain()
        self.bench.now = max(self.bench.now, until)


@given(st.lists(step, max_size=60))
def test_whatever_happens_all_ends(actions: list[tuple[object, ...]]) -> None:
    world = World()
    bench, endpoint = world.bench, world.bench.endpoint
    for action in actions:
        world.play(action)
        assert len(endpoint._wheel) <= 2 * (endpoint.transactions + len(actions))
    # The TU does its duty: it answers what waits and gives up what rings.
    for server in list(endpoint._servers.values()):
        if server.status < 200:
            endpoint.send_response(server.key, 500, response_to(arriving(server.method), 500), bench.now)
    for client in list(endpoint._clients.values()):
        if client.method == "INVITE":
            endpoint.send_request(
                client.branch, "CANCEL", request_data("CANCEL"), client.flow, bench.now, world
            )
    endpoint.out.clear()
    world.run(bench.now + 200)
    assert bench.is_empty()
    for branch, method in world.started:
        assert world.ended.get((branch, method)) == 1, (branch, method)


@given(st.binary(max_size=400), st.sampled_from(FLOWS))
def test_any_bytes(data: bytes, flow: Flow) -> None:
    bench = Bench()
    bench.receive(data, flow)
    assert bench.told() == [] or parse(data).is_request


@given(
    st.sampled_from(["INVITE", "OPTIONS", "CANCEL", "ACK", "BYE"]),
    st.integers(0, 400),
    st.binary(min_size=1, max_size=3),
    st.sampled_from(FLOWS),
)
def test_damaged_messages(method: str, where: int, what: bytes, flow: Flow) -> None:
    """One place of a good message overwritten: it is told, answered or counted, and answers go to flows we know."""
    bench = Bench()
    data = arriving(method)
    where %= len(data)
    bench.receive(data[:where] + what + data[where + len(what) :], flow)
    for target, answer in bench.endpoint.out:
        assert (target.transport, target.host) == (flow.transport, flow.host)
        assert 0 < target.port < 65536
        assert answer.startswith(b"SIP/2.0 ")
    if bench.message is not None:
        bench.answer(404)
    bench.run(200)
    assert bench.is_empty() or "INVITE" in {t.method for t in bench.endpoint._servers.values()}
