"""The examples of docs/explain.md: what each command prints.  ``python -m tests.explaining.examples`` writes them anew."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from callcontrol.cdr.store import SqlCallStore
from callcontrol.cli import main
from callcontrol.explaining import offline
from callcontrol.explaining.explainer import Explainer
from callcontrol.explaining.question import Question
from callcontrol.explaining.rehearsal import Rehearsal
from config.database import create_engine
from config.settings import load

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "explain.md"
_EXAMPLE: Final = re.compile(r"```sh\n(cloudline [^\n]*)\n```\n\n```\n(.*?)```", re.DOTALL)
_DOCUMENT: Final = re.compile(r"```toml\n(.*?)```", re.DOTALL)
SUNDAY: Final = "2027-01-17T11:00"


def examples(text: str) -> list[tuple[str, str]]:
    """Commands and what they print, as a page shows them."""
    return _EXAMPLE.findall(text)


def printed(text: str, folder: Path) -> list[str]:
    """What the commands of a page really print, over the provisioning of that page."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        set_up(text, folder)
        return [_run(command) for command, _ in examples(text)]
    finally:
        os.chdir(here)


def set_up(text: str, folder: Path) -> None:
    """The configuration, provisioning and call that the page speaks of, in a folder, which is the present one."""
    document = _DOCUMENT.findall(text)[0]
    closed = document.replace('action = "forward"\nto = "+33199001234"', 'action = "refuse"')
    (folder / "node.toml").write_text(
        f'[database]\nurl = "sqlite+aiosqlite:///{folder}/node.db"\n[cdr]\noutbox = "{folder}/outbox"\n'
    )
    (folder / "acme.toml").write_text(document)
    (folder / "closed.toml").write_text(closed)
    _run("cloudline apply acme.toml --config node.toml")
    asyncio.run(_call_of_sunday(folder / "node.toml"))


def _run(command: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        main(shlex.split(command)[1:])
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


async def _call_of_sunday(config: Path) -> None:
    """Put the record of a call to the Greeting into the database, as a node would have written it."""
    settings = load(config, {})
    parts = offline.signalling_of(settings, await offline.load(settings))
    played: list[Rehearsal] = []
    explainer = Explainer(parts, lambda: 1_800_000_000.0, watch=played.append)
    await explainer.explain(Question(caller="+33639989999", called="+33639987000", at=SUNDAY))
    record = played[0].record
    if record is None:
        raise RuntimeError("the call of the example has not ended")
    engine = create_engine(settings.database)
    try:
        await SqlCallStore(engine).write([msgspec.structs.replace(record, call_ref="mjq2vbxk4tzn7r5a")])
    finally:
        await engine.dispose()


def rewritten(text: str, outputs: list[str]) -> str:
    """The page with other outputs."""
    rest = iter(outputs)
    return _EXAMPLE.sub(lambda found: f"```sh\n{found[1]}\n```\n\n```\n{next(rest)}```", text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(rewritten(page, printed(page, Path(name))), encoding="utf-8")
