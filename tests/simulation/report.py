"""What is told about a run that failed: the seed, the last steps, and the ladder of the call concerned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.simulation.network import Passing
    from tests.simulation.simulation import Simulation

LAST: Final = 25
LADDER: Final = 120


class Fault(BaseException):
    """The server broke an invariant.  No ``Exception``: nothing of the product may catch it."""

    def __init__(self, name: str, detail: str, story: str) -> None:
        super().__init__(f"{name}: {detail}\n{story}")
        self.name = name
        self.detail = detail


def describe(sim: Simulation, name: str, detail: str, call_id: str, ref: str) -> str:
    """Everything that one needs to know about a fault."""
    lines = [
        f"seed {sim.seed} at {sim.clock.now:.3f} s: {name}",
        f"  {detail}",
        f"  replay: python -m tests.simulation --seed {sim.seed} --hours {sim.seconds / 3600:g}",
        f"  {sim.mood}",
        "",
        f"the last {LAST} messages:",
        *[_line(each) for each in list(sim.network.passed)[-LAST:]],
    ]
    call_ids = {call for call, its in sim.watch.refs.items() if its == ref} if ref else set()
    if call_id:
        call_ids.add(call_id)
    if call_ids:
        lines += ["", f"call {ref or '?'}, dialog {call_id or '?'} of {', '.join(sorted(call_ids))}:"]
        ladder = [each for each in sim.network.passed if each.call_id in call_ids]
        if len(ladder) > LADDER:
            lines.append(f"  ({len(ladder) - LADDER} messages before)")
        lines += [_line(each) for each in ladder[-LADDER:]]
        lines += _state(sim, ref)
    return "\n".join(lines)


def _state(sim: Simulation, ref: str) -> list[str]:
    call = sim.server.call(ref)
    if call is None:
        records = sim.server.outbox.records.get(ref, [])
        return [f"  record: {record.reason} {record.status} by {record.ended_by}" for record in records]
    lines = [f"  phase {call.phase}, a={call.a}, b={call.b}, deadlines {call.deadlines}"]
    for leg in call.legs.values():
        usage = leg.usage
        lines.append(
            f"  leg {leg.id} {leg.device or leg.trunk}: state {usage.state}, ended {leg.ended_at}, {leg.reason}, "
            f"pending {[p.method for p in usage.pending.values()]}, deadlines {usage.deadlines}, {leg.call_id}"
        )
    for trace in call.trace[-12:]:
        lines.append(f"    {trace.rule} {trace.outcome} {trace.detail}")
    return lines


def _line(each: Passing) -> str:
    start, _, rest = each.data.partition(b"\r\n")
    text = start.decode("utf-8", "replace")
    if text.startswith("SIP/2.0 "):
        text = text[8:]
        for line in rest.split(b"\r\n", 12):
            if line[:5].lower() == b"cseq:":
                text += f"  ({line[5:].decode('utf-8', 'replace').strip()})"
    else:
        text = text.removesuffix(" SIP/2.0")
    body = " +sdp" if b"\r\n\r\nv=0" in each.data else ""
    arrow = "-->" if each.upwards else "<--"
    fate = f"   ! {each.fate}" if each.fate else ""
    return f"{each.at:10.3f}  {each.party:18} {arrow} {text}{body}{fate}"
