"""Any sequence of REGISTERs is answered, and the binding table keeps its promises (Hypothesis)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callcontrol.registration import RegistrarPolicy
from callcontrol.sip.flow import Flow
from tests.callcontrol.register_kit import DOMAIN, NOW, PUSH, Phone, Site, instance

PN = ";pn-provider=mqtt;pn-prid=token-1;pn-param=app"


# -- any sequence of requests

_contact = st.sampled_from(
    [
        "<sip:a@192.0.2.10>",
        "<sip:b@192.0.2.10:6060>;expires=0",
        "<sip:b@192.0.2.10:6060>;q=0.5",
        "<sip:c@10.0.0.1>" + instance(1),
        "<sip:c@10.0.0.2>" + instance(1) + ";reg-id=1",
        "<sip:c@10.0.0.3>" + instance(2) + ";reg-id=2;expires=70",
        f"<sip:d@10.0.0.4{PN}>",
        f"<sip:d@10.0.0.5{PN}>" + instance(3),
        "<sip:e@10.0.0.6;pn-provider=nobody;pn-prid=x>",
        "*",
        "<tel:+15550100>",
        '"broken',
        "<sip:f@10.0.0.7>;expires=3",
    ]
)
_headers = st.sampled_from(
    [(), (("Supported", "outbound, path, gruu"),), (("Path", "<sip:p.example;lr>"),), (("Require", "path"),)]
)
_step = st.tuples(
    st.sampled_from(["ana-phone", "ana-desk", "ana-tablet", "ben-phone"]),
    st.lists(_contact, max_size=3),
    st.sampled_from([None, 0, 30, 60, 600, "x"]),
    _headers,
    st.integers(0, 3),
    st.sampled_from(["", "lose", "tick"]),
    st.integers(0, 200),
)


@given(st.lists(_step, max_size=25))
def test_any_sequence_of_registers_is_answered_and_keeps_the_table_whole(
    steps: list[tuple[str, list[str], int | str | None, tuple[tuple[str, str], ...], int, str, int]],
) -> None:
    site = Site(per_user=2, policy=RegistrarPolicy(domain=DOMAIN, push_providers=PUSH, max_bindings=3))
    phones = {
        (name, conn): Phone(name, transport="tcp" if conn else "udp", conn=conn, call_id=f"{name}-{conn % 2}")
        for name in ("ana-phone", "ana-desk", "ana-tablet", "ben-phone")
        for conn in range(4)
    }
    now = NOW
    for name, contacts, expires, headers, conn, also, seconds in steps:
        now += seconds
        before = site.store.snapshot()
        phone = phones[name, conn]
        response = phone.register(site, *contacts, now=now, expires=expires, headers=headers)
        assert response.status in {200, 400, 403, 420, 423, 439, 500, 555}
        if response.status != 200:
            live = [b for b in before if float(str(b["expires_at"])) > now]
            assert [b for b in site.store.snapshot() if float(str(b["expires_at"])) > now] == live, (
                "all or nothing"
            )
        else:
            assert len(response.items("contact")) == len(site.of(name, now))
        if also == "lose":
            site.registrar.connection_lost(conn)
            assert not conn or site.store.on_connection(conn) == []
        elif also == "tick":
            site.registrar.tick(now)
            assert all(b.expires_at > now for b in site.store.all())
        assert {b.user for b in site.store.all()} <= {"ana", "ben"}
        assert len({b.device for b in site.registrar.bindings_of_user("ana", now)}) <= 2
        for username in ("ana-phone", "ana-desk", "ana-tablet", "ben-phone"):
            held = site.of(username, now)
            assert len(held) <= 3
            tokens = [b.push_prid for b in held if b.push_prid and not b.reg_id]
            assert len(tokens) == len(set(tokens)), "one push token, one binding"
            plain = [b.instance for b in held if b.instance and not b.reg_id]
            assert len(plain) == len(set(plain)), "one instance, one binding"
            for b in held:
                assert b.expires_at <= now + 86400
                assert "pn-" not in b.target
                assert (b.conn != 0) == (Flow.load(b.flow).conn != 0 if b.flow else False)
