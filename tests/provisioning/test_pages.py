"""The documents that the pages show are ones that apply takes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from callcontrol.provisioning import Document, MemoryProvisioningStore, apply, export
from tests.support.acme import PLANS

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMPANY = '[[account]]\nref = "acme"\nkind = "company"\n'
PEOPLE = "".join(f'[[user]]\nref = "{ref}"\naccount = "acme"\n' for ref in ("ana", "ben"))


@pytest.mark.parametrize(("page", "before"), [("provisioning.md", ""), ("greetings.md", COMPANY + PEOPLE)])
def test_the_example_of_a_page_is_taken(page: str, before: str) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)

    async def scenario() -> None:
        store = MemoryProvisioningStore()
        changes = await apply([Document(page, before + text)], store, plans=PLANS)
        assert [each.kind for each in changes.created].count("greeting") == 1
        assert not await apply([Document("again", await export(store, secrets=True))], store, plans=PLANS)

    asyncio.run(scenario())
