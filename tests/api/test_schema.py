"""The API against its own schema: whatever is sent, what comes back is what OpenAPI says, and never a defect.

schemathesis makes the requests from the schema, good ones and spoilt ones; each is sent with an operator's token and
with that of another scope, these by turns, over loopback, to a node with a database.  Bounded, and the same in every
run.  With the profile ``fuzz`` (``make fuzz-properties``) there are many more of them, each with a token of every scope.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from callcontrol.access.tokens import Scope
from tests.api.worlds import WORLD, Phones, tokens
from tests.support.api import app_over, running
from tests.support.fake_node import FakeNode
from tests.support.schema import sqlite_url

pytestmark = pytest.mark.slow
SCHEMA = schemathesis.openapi.from_dict(app_over(FakeNode()).openapi())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
THOROUGH = os.environ.get("CLOUDLINE_HYPOTHESIS") == "fuzz"
EXAMPLES = 200 if THOROUGH else 4
OTHERS = [scope for scope in Scope if scope is not Scope.OPERATOR]


class Served:
    """A running API, a token of each scope, and a client that keeps its connection."""

    def __init__(self, url: str, keys: dict[Scope, str]) -> None:
        self.url = url
        self.keys = keys
        self.session = requests.Session()
        self.session.trust_env = False


def scopes_by_turns() -> Iterator[tuple[Scope, ...]]:
    if THOROUGH:
        return itertools.repeat(tuple(Scope))
    return ((Scope.OPERATOR, other) for other in itertools.cycle(OTHERS))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schema")
    with running(sqlite_url(folder), WORLD, tokens, phones=Phones()) as (url, keys):
        made = Served(url, keys)
        with made.session:
            yield made


@pytest.fixture
def turns() -> Iterator[tuple[Scope, ...]]:
    """Who sends a request: one entry for each; from the beginning for each operation, so that every run is the same."""
    return scopes_by_turns()


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_the_schema_says(
    case: Any, served: Served, turns: Iterator[tuple[Scope, ...]]
) -> None:
    for scope in next(turns):
        headers = {"Authorization": f"Bearer {served.keys[scope]}"}
        case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS, session=served.session)
