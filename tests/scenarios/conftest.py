"""Assertions of the scenarios tell what they compared, as those of test modules do."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.scenarios.{name}"
        for name in (
            "stage",
            "incoming",
            "outgoing",
            "carriers",
            "early",
            "midcall",
            "timers",
            "transfers",
            "races",
            "hiding",
            "waking",
        )
    )
)
