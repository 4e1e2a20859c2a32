"""Facts and plans write out how they are made, since that compiles; it must stay what their fields say."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import pytest

from dialplan import facts, plan
from numbering.models import Greeting
from numbering.plans import NumberClass
from tests.dialplan.cases import ANA

CLASSES = [
    kind
    for module in (facts, plan)
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
]
NESTED: dict[str, Any] = {
    "CalledNumber": facts.CalledNumber(dialled="mark"),
    "CallerNumber": facts.CallerNumber(presented="mark"),
    "Callee": facts.Callee(user="mark"),
    "Greeting": Greeting(number=ANA, account="mark"),
    "Identity": plan.Identity(user="mark"),
    "Limits": facts.Limits(ring_s=7.5),
    "LoopFacts": facts.LoopFacts(max_forwards=7),
    "NumberClass": NumberClass.MOBILE,
    "Plan": plan.Plan(direction="mark", steps=(), caller=plan.Identity(), called=""),
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_field_is_taken_by_name_and_has_the_default_that_it_says(kind: Any) -> None:
    marks = {field.name: _mark(field) for field in fields(kind)}
    made = kind(**marks)
    assert {name: getattr(made, name) for name in marks} == marks
    needed = {
        field.name: marks[field.name]
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }
    bare = kind(**needed)
    for field in fields(kind):
        if field.name not in needed:
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            assert getattr(bare, field.name) == default, field.name


def _mark(field: Field[Any]) -> Any:
    """A value of the annotated type, which compiled classes insist on; where it can be, not the default."""
    # interpreted classes tell their annotations as they are written, compiled ones as what they mean
    annotation = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
    if field.default is None:
        return None
    if annotation.startswith("tuple"):
        return ()
    plain = {"str": "mark", "int": 7, "float": 7.5, "bool": True}
    return plain[annotation] if annotation in plain else NESTED[annotation]
