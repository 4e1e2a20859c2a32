"""A node with phones, numbers and trunks, asked what would happen."""

from __future__ import annotations

import asyncio
from typing import Any

from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.explainer import Explainer
from callcontrol.explaining.question import Question
from tests.support.world import START, World

ANA = "+33639981001"
BEN = "+33639981002"
STRANGER = "+33639989999"
OUTSIDE = "+33199001234"


def explain(world: World, caller: str, called: str, **more: Any) -> Explanation:
    """What the node of a world says."""
    explainer = Explainer(world.server, lambda: START + 1)
    return asyncio.run(explainer.explain(Question(caller=caller, called=called, **more)))
