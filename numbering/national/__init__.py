"""The national numbering tables, one TOML file for each country, read when the process starts.

They are a part of the program, as constants are: a table that cannot be used stops the start with a complaint
that names file and key.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Final

from numbering.planfile import parse
from numbering.plans import NumberingPlan, PlanError, Plans


def load() -> Plans:
    """The tables that come with the product.  Raises PlanError."""
    plans: list[NumberingPlan] = []
    for entry in sorted(resources.files(__name__).iterdir(), key=lambda each: each.name):
        if not entry.name.endswith(".toml"):
            continue
        try:
            document = tomllib.loads(entry.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise PlanError(f"{entry.name}: {error}") from None
        plan = parse(entry.name, document)
        if entry.name != f"{plan.country}.toml":
            raise PlanError(f"{entry.name}: country: {plan.country} belongs into {plan.country}.toml")
        plans.append(plan)
    if not plans:
        raise PlanError("numbering/national: there are no tables; the installation is broken")
    return Plans(plans)


PLANS: Final = load()
"""The tables in use."""
