"""Surroundings of all calls of a node: values and small lookups that never wait.  Never stored with a call."""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.sip.usage import UsageEnv


class CallEnv:
    """What every call of this node shares."""

    __slots__ = (
        "device_class",
        "domain",
        "keep_facts",
        "node",
        "progress_s",
        "push_delay_s",
        "silence_s",
        "total_ring_s",
        "usage",
        "wake_s",
        "wakeable",
    )

    def __init__(
        self,
        usage: UsageEnv,
        domain: str,
        node: str = "",
        total_ring_s: float = 90.0,
        silence_s: float = 5.0,
        device_class: Callable[[str], str] = lambda ref: "phone" if ref else "",
        wake_s: float = 8.0,
        push_delay_s: float = 1.0,
        progress_s: float = 20.0,
    ) -> None:
        self.usage = usage
        self.domain = domain
        self.node = node
        self.total_ring_s = total_ring_s
        """Cap over all steps of a plan, seconds: an unanswered call has a deadline whatever the plan says."""
        self.silence_s = silence_s
        """How long a trunk peer may let an INVITE without any response before the next one is tried; Timer B takes 32 s."""
        self.progress_s = progress_s
        """How long it may then leave it at a mere 100."""
        self.device_class = device_class
        """Device ref -> phone, desktop or browser."""
        self.wake_s = wake_s
        """How long a step waits for somebody to be reachable (INC-06), from its beginning or the last push."""
        self.push_delay_s = push_delay_s
        """How long a device that was silent for long may take to answer its INVITE before it is pushed as well."""
        self.wakeable: Callable[[str], bool] = lambda ref: False
        """Whether a push can reach the device with this ref now (DEV-04)."""
        self.keep_facts = True
        """Calls keep what their decisions were made of, for their records (OPS-02)."""
