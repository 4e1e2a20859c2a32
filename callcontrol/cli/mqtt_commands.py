"""``cloudline mqtt``: the access files of a Mosquitto beside the node."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, ConfigFile
from callcontrol.cli.output import print_json
from callcontrol.cli.provisioning_commands import chosen_settings, with_store

if TYPE_CHECKING:
    from callcontrol.provisioning import SqlProvisioningStore

app = typer.Typer(help="The MQTT broker of the devices.", no_args_is_help=True)

LOCAL_PASSWORDS = "local.passwd"
LOCAL_ACL = "local.acl"


@app.callback()
def _group() -> None:
    """The MQTT broker of the devices."""


@app.command("access")
def access_command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if need be.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Write password, access and configuration file for Mosquitto, from the devices in the database.

    Run it again after changes of devices, then send Mosquitto a SIGHUP.  Users and rules of your own stand in local.passwd
    and local.acl in the same folder; they are appended.
    """
    from gateway.mqtt_access import ACL_FILE, CONF_FILE, PASSWORD_FILE, acl_file, conf_file, password_file
    from gateway.mqtt_client import address_of

    chosen = chosen_settings(config)
    server = address_of(chosen.mqtt)
    devices = asyncio.run(with_store(chosen, _devices))
    try:
        out.mkdir(parents=True, exist_ok=True)
        passwords = password_file(devices, server.username, server.password, _local(out / LOCAL_PASSWORDS))
        rules = "\n".join([acl_file(server.username), *_local(out / LOCAL_ACL)])
        _write(out / PASSWORD_FILE, passwords)
        _write(out / ACL_FILE, rules)
        _write(out / CONF_FILE, conf_file(out.resolve()))
    except OSError as error:
        raise Failure(f"{out}: {error.strerror or error}") from None
    if as_json:
        print_json(
            {
                "folder": str(out),
                "devices": len(devices),
                "server": server.username if server.password else "",
            }
        )
        return
    typer.echo(f"{len(devices)} devices may come to the broker; files are in {out}")
    if not server.password:
        typer.echo(
            "The server itself has no password: set mqtt.password, or user and password in mqtt.url.",
            err=True,
        )


async def _devices(store: SqlProvisioningStore) -> dict[str, str]:
    """Device ref -> hash of its password, of those that have one."""
    inventory = await store.read()
    return {ref: device.mqtt_password for ref, device in inventory.devices.items() if device.mqtt_password}


def _local(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _write(path: Path, text: str) -> None:
    """In one step, so that a broker that reads meanwhile sees the old file or the new one; for its owner and group only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).chmod(0o640)
    Path(name).replace(path)
