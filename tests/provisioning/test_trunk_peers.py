"""Peers of a trunk with their shares of the calls: in documents, in the database, over the API."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from callcontrol.provisioning import (
    Document,
    MemoryProvisioningStore,
    ProvisioningError,
    apply,
    export,
)
from gateway.trunk import PeerShare, Trunk
from tests.support.acme import PLANS
from tests.support.api import api_world, run
from tests.support.schema import sqlite_url

HEAD = '[[trunk]]\nref = "t"\nprefixes = ["+"]\n'
TWO = """[[trunk.peer]]
uri = "sip:192.0.2.1"
weight = 70
[[trunk.peer]]
uri = "sip:192.0.2.2:5080;transport=tcp"
weight = 30
priority = 20
"""
SHARES = (PeerShare("sip:192.0.2.1", 70, 10), PeerShare("sip:192.0.2.2:5080;transport=tcp", 30, 20))


def read(text: str) -> Trunk:
    store = MemoryProvisioningStore()
    asyncio.run(apply([Document("1.toml", text)], store, plans=PLANS))
    return asyncio.run(store.read()).trunks["t"]


def test_peers_are_written_with_their_shares() -> None:
    trunk = read(HEAD + TWO)
    assert trunk.peer == SHARES
    assert trunk.peers == tuple(share.uri for share in SHARES)
    assert read(HEAD + '[[trunk.peer]]\nuri = "sip:192.0.2.1"\n').peer == (
        PeerShare("sip:192.0.2.1", 100, 10),
    )
    plain = read(HEAD + 'peers = ["sip:192.0.2.1"]\n')
    assert (plain.peers, plain.peer) == (("sip:192.0.2.1",), ())


def test_shares_instead_of_the_peers_of_a_preset() -> None:
    trunk = read(
        '[[trunk]]\nref = "t"\nprefixes = ["+"]\npreset = "teams"\nhost = "sbc.acme.example"\n'
        '[[trunk.peer]]\nuri = "sip:sip.carrier.example;transport=tls"\n'
    )
    assert trunk.peers == ("sip:sip.carrier.example;transport=tls",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('peers = ["sip:192.0.2.9"]\n' + TWO, "peers stand in two places"),
        (TWO + '[[trunk.peer]]\nuri = "sip:192.0.2.1"\n', "a peer is named twice"),
        ('[[trunk.peer]]\nuri = "192.0.2.1"\n', "a peer is written sip:host"),
        ("[[trunk.peer]]\nweight = 5\n", "a peer is written sip:host"),
        ('[[trunk.peer]]\nuri = "sip:192.0.2.1"\nweight = -1\n', "weight"),
        ('[[trunk.peer]]\nuri = "sip:192.0.2.1"\nwieght = 1\n', "wieght"),
        ('peer = ["sip:192.0.2.1"]\n', "is not a list of tables"),
    ],
)
def test_what_is_no_share_is_said(text: str, words: str) -> None:
    with pytest.raises(ProvisioningError, match=words):
        read(HEAD + text)


def test_what_is_exported_can_be_applied_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), HEAD + TWO) as world:
            store = world.stores.provisioning
            assert (await store.read()).trunks["t"].peer == SHARES
            text = await export(store)
            assert "peers = " not in text
            assert 'peer = [{ uri = "sip:192.0.2.1", weight = 70, priority = 10 }' in text
            assert not await apply([Document("again.toml", text)], store, plans=PLANS)
            told = await apply(
                [Document("other.toml", HEAD + TWO.replace("70", "60"))], store, plans=PLANS, dry_run=True
            )
            assert "sip:192.0.2.1 weight 60 priority 10" in "\n".join(told.lines())

    run(scenario())


def test_over_the_api(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, HEAD + TWO) as world:
            path = "/v1/trunks/t"
            seen = (await world.ask("GET", path)).json()
            assert seen["peer"][0] == {"uri": "sip:192.0.2.1", "weight": 70, "priority": 10}
            assert seen["peers"] == [share.uri for share in SHARES]
            changed = await world.ask("PATCH", path, {"peer": [{"uri": "sip:192.0.2.3", "weight": 1}]})
            assert changed.status_code == 200, changed.text
            assert changed.json()["peer"] == [{"uri": "sip:192.0.2.3", "weight": 1, "priority": 10}]
            assert world.trunks.get("t").peers == ("sip:192.0.2.3",)  # type: ignore[union-attr]
            both = await world.ask("PATCH", path, {"peers": ["sip:192.0.2.4"]})
            assert (both.status_code, both.json()["errors"][0]["pointer"]) == (422, "/peer")
            plain = await world.ask("PATCH", path, {"peers": ["sip:192.0.2.4"], "peer": None})
            assert (plain.json()["peers"], plain.json()["peer"]) == (["sip:192.0.2.4"], [])

    run(scenario())
