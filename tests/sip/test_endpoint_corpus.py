"""Every torture message of RFC 4475 and RFC 5118 through an endpoint: what goes out, and nothing raises."""

import pytest

from callcontrol.sip import build
from callcontrol.sip.events import RequestReceived, StrayAnswer
from callcontrol.sip.flow import Flow
from callcontrol.sip.screening import Capabilities, screen
from tests.corpus.verdicts import CORPUS, VERDICTS, Verdict
from tests.support.exchanges import LOCAL, PEER, Bench

CAPABILITIES = Capabilities(
    allow=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "MESSAGE"),
    accept=("application/sdp", "multipart/*"),
    supported=("100rel", "timer"),
)
UDP = Flow("udp", PEER, 5060, f"udp:{LOCAL}:5060")
TCP = Flow("tcp", PEER, 40000, f"tcp:{LOCAL}:5060", 3)


def status_of(data: bytes) -> int:
    assert data.startswith(b"SIP/2.0 ")
    return int(data[8:11])


def serve(bench: Bench, data: bytes, flow: Flow) -> tuple[list[int], int]:
    """A TU that screens and then says yes: (statuses on the wire, requests that got to it)."""
    endpoint = bench.endpoint
    endpoint.receive(data, flow, bench.now)
    told = 0
    for event in endpoint.events:
        if isinstance(event, StrayAnswer):
            assert data.startswith(b"SIP/2.0 2")
            continue
        assert isinstance(event, RequestReceived)
        told += 1
        refusal = screen(event.message, CAPABILITIES)
        if refusal is None:
            answer = build.response(event.message, 200, to_tag="tag")
            assert endpoint.send_response(event.key, 200, answer, bench.now)
        else:
            answer = build.response(event.message, refusal.status, refusal.reason, "tag", refusal.headers)
            assert endpoint.send_response(event.key, refusal.status, answer, bench.now)
    endpoint.events.clear()
    sent = [status_of(data) for target, data in endpoint.out if target.host == PEER]
    endpoint.out.clear()
    return sent, told


def expected(verdict: Verdict) -> tuple[list[int], int]:
    if not verdict.data.lstrip().startswith(b"SIP/"):
        if verdict.layer == "parser":
            return ([verdict.status] if verdict.answered else []), 0
        if verdict.layer == "screening":
            return [verdict.status], 1
        return [200], 1  # what the user of the endpoint would object to is not tested here
    return [], 0


@pytest.mark.parametrize("flow", [UDP, TCP], ids=["udp", "tcp"])
@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.name)
def test_verdict_on_the_wire(verdict: Verdict, flow: Flow) -> None:
    bench = Bench()
    assert serve(bench, verdict.data, flow) == expected(verdict)
    bench.run(200)
    assert bench.is_empty()
    counters = bench.endpoint.counters
    if verdict.layer == "parser":
        assert counters.parse_errors == {verdict.status: 1}
    elif verdict.data.startswith(b"SIP/"):
        assert sum(counters.dropped.values()) == (0 if verdict.data.startswith(b"SIP/2.0 2") else 1)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.name)
def test_a_retransmission_gets_the_same_answer_and_is_not_told_again(verdict: Verdict) -> None:
    bench = Bench()
    sent, told = serve(bench, verdict.data, UDP)
    again, told_again = serve(bench, verdict.data, UDP)
    assert told_again == 0
    if told and verdict.data.startswith(b"INVITE") and sent == [200]:
        assert again == []  # its 2xx is the TU's to repeat
    else:
        assert again == sent


def test_cut_anywhere_nothing_raises() -> None:
    for verdict in VERDICTS:
        bench = Bench()
        for cut in range(0, len(verdict.data), 7):
            serve(bench, verdict.data[:cut], UDP)


@pytest.mark.parametrize("path", sorted((CORPUS / "devices").glob("*.sip")), ids=lambda path: path.stem)
def test_messages_of_devices_pass(path: object) -> None:
    bench = Bench()
    data = path.read_bytes()  # type: ignore[attr-defined]
    bench.endpoint.receive(data, UDP, 0.0)
    counters = bench.endpoint.counters
    assert counters.parse_errors == {}
    assert len(bench.endpoint.events) + sum(counters.dropped.values()) == 1
