"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from callcontrol.cli.client import Failure, NodeClient, choose_node
from config.settings import Settings, SettingsError, load

Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="CLOUDLINE_URL", help="The node's HTTP address; default: the one that runs here."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", envvar="CLOUDLINE_CONFIG", metavar="FILE", help="Configuration file (TOML)."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many at most.")]


def actor() -> str:
    """Who is recorded as the author of a change."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a process without a user's name
        return "cli"


def client(url: str, demo: bool = False) -> NodeClient:
    """A client for the node that the options and the environment name."""
    return NodeClient(choose_node(url, os.environ.get("CLOUDLINE_TOKEN", ""), demo))


def settings(file: Path | None) -> Settings:
    """The configuration.  Raises Failure with file, line, key and remedy of every mistake."""
    try:
        return load(file, os.environ)
    except SettingsError as error:
        raise Failure(f"the configuration is refused:\n{error}") from None
