"""Surroundings of all calls of a node: values and small lookups that never wait.  Never stored with a call."""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.sip.usage import UsageEnv


class CallEnv:
    """What every call of this node shares."""

    __slots__ = ("device_class", "domain", "node", "silence_s", "total_ring_s", "usage")

    def __init__(
        self,
        usage: UsageEnv,
        domain: str,
        node: str = "",
        total_ring_s: float = 90.0,
        silence_s: float = 5.0,
        device_class: Callable[[str], str] = lambda ref: "phone" if ref else "",
    ) -> None:
        self.usage = usage
        self.domain = domain
        self.node = node
        self.total_ring_s = total_ring_s
        """Cap over all steps of a plan, seconds: an unanswered call has a deadline whatever the plan says."""
        self.silence_s = silence_s
        """How long a trunk peer may let an INVITE without any response before the next one is tried; Timer B takes 32 s."""
        self.device_class = device_class
        """Device ref -> phone, desktop or browser."""
