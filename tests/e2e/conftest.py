"""Fixtures of the end-to-end tests: one server for a module, phones and carriers for a test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.phone import Phone
from tests.e2e.harness.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server with the people, numbers and carriers of `World`."""
    made = World(tmp_path_factory.mktemp("world"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no phone, no call is left, and the server's log tells of no bug."""
    if "world" not in request.fixturenames:
        yield
        return
    world: World = request.getfixturevalue("world")
    position = world.server.log_position()
    world.server.expected.clear()
    yield
    world.everybody_out()
    if world.server.alive:
        world.server.wait_idle()
    complaints = world.server.complaints(position)
    assert not complaints, "the server's log tells of a bug:\n" + "\n".join(complaints[:10])


@pytest.fixture
def new_phone(tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Phones for tests that bring their own registrar: ``new_phone(kind, transport, server, domain)``."""
    with contextlib.ExitStack() as stack:

        def make(kind: str, transport: str, server: tuple[str, int], domain: str) -> Phone:
            phone = Phone(kind, transport, server, domain, tmp_path)
            stack.callback(phone.close)
            return phone

        yield make
