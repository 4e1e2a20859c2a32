"""The API against its own schema: whatever is sent, what comes back is what OpenAPI says, and never a defect.

schemathesis makes the requests from the schema, good ones and spoilt ones; each is sent with a token of every
scope, over loopback, to a node with a database.  Bounded, and the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
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
EXAMPLES = 4


class Served:
    """A running API, and a token of each scope."""

    def __init__(self, url: str, keys: dict[Scope, str]) -> None:
        self.url = url
        self.keys = keys


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schema")
    with running(sqlite_url(folder), WORLD, tokens, phones=Phones()) as (url, keys):
        yield Served(url, keys)


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_the_schema_says(case: Any, served: Served) -> None:
    for scope in Scope:
        headers = {"Authorization": f"Bearer {served.keys[scope]}"}
        case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS)
