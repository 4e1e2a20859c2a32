"""``cloudline phone``: what the app of a phone asks for, asked by an operator in its place (OUT-02, OUT-03, OUT-06, DEV-01)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from callcontrol.cli.client import segment
from callcontrol.cli.options import AsJson, Url, client
from callcontrol.cli.output import print_json

Phone = Annotated[str, typer.Argument(metavar="DEVICE", help="Ref of the phone.")]
To = Annotated[str, typer.Argument(metavar="TO", help="Whom to call, as its user would dial.")]
Number = Annotated[
    str, typer.Option("--number", help="The cloud number that is shown; default: the user's default one.")
]
Hide = Annotated[bool, typer.Option("--hide", help="Show no number.")]

app = typer.Typer(help="What the app of a phone asks for.", no_args_is_help=True)


@app.command("call-through")
def call_through(
    device: Phone,
    to: To,
    number: Number = "",
    hide: Hide = False,
    hidden_sim: Annotated[
        bool, typer.Option("--hidden-sim", help="The SIM hides its number, and needs a gateway number alone.")
    ] = False,
    favourite: Annotated[
        bool, typer.Option("--favourite", help="A lease that lasts, for a contact who is called often.")
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Lease a gateway number: the SIM dials it, and is led on."""
    body = _call(device, to, number, hide) | {"hidden_sim": hidden_sim, "favourite": favourite}
    found = client(url).post("/v1/call-through", body)
    if as_json:
        print_json(found)
    else:
        typer.echo(
            f"dial {found['gateway_number']} within {found['expires_in_s']} s: it leads to {found['to']} from "
            f"{found['number']} (lease {found['lease']})"
        )


@app.command()
def release(device: Phone, lease: Annotated[str, typer.Argument(metavar="LEASE")], url: Url = "") -> None:
    """Give a lease back."""
    client(url).delete(f"/v1/call-through/{segment(lease)}?{urlencode({'device': device})}")
    typer.echo(f"lease {lease} is given back")


@app.command()
def callback(
    device: Phone, to: To, number: Number = "", hide: Hide = False, as_json: AsJson = False, url: Url = ""
) -> None:
    """Call the SIM, then the number, and join the two."""
    found = client(url).post("/v1/callbacks", _call(device, to, number, hide))
    if as_json:
        print_json(found)
    else:
        typer.echo(f"the SIM is called from {found['gateway_number']} (callback {found['callback']})")


@app.command()
def cancel(
    device: Phone, reference: Annotated[str, typer.Argument(metavar="CALLBACK")], url: Url = ""
) -> None:
    """Stop a callback."""
    client(url).delete(f"/v1/callbacks/{segment(reference)}?{urlencode({'device': device})}")
    typer.echo(f"callback {reference} is stopped")


@app.command()
def price(
    device: Phone,
    to: To,
    number: Number = "",
    seconds: Annotated[float, typer.Option("--seconds", min=0, max=86_400, help="For how long.")] = 0.0,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """What a call costs, and who pays, or why it cannot be made."""
    found = client(url).get(
        "/v1/prices", device=device, to=to, number=number, seconds=str(seconds) if seconds else ""
    )
    if as_json:
        print_json(found)
        return
    for line in _price_lines(found):
        typer.echo(line)


def _price_lines(found: dict[str, Any]) -> list[str]:
    currency = found["currency"]
    payer = found["paid_by"]
    words = {"": "not to be called now", "nobody": "nothing has a price", "free": "free"}
    lines = [f"{found['to']} from {found['number'] or 'no number'}: {words.get(payer, f'paid by {payer}')}"]
    if payer == "credit":
        lines.append(
            f"{found['per_minute']} {currency} a minute, {found['connection']} {currency} to connect"
        )
    if "total" in found:
        lines.append(f"{found['seconds']} s: {found['total']} {currency}".rstrip())
    if "refusal" in found:
        lines.append(f"refused now: {found['refusal']['message']} ({found['refusal']['code']})")
    return lines


@app.command()
def verify(
    device: Phone,
    sim: Annotated[str, typer.Argument(metavar="SIM", help="Number of the SIM.")],
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Ask for the number that the SIM dials to prove its own."""
    _tell(client(url).post("/v1/verifications", {"device": device, "sim": sim}), as_json)


@app.command()
def verification(
    device: Phone,
    reference: Annotated[str, typer.Argument(metavar="VERIFICATION")],
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Whether the SIM is verified by now, or why it is not."""
    _tell(client(url).get(f"/v1/verifications/{segment(reference)}", device=device), as_json)


@app.command("sign-out")
def sign_out(device: Phone, as_json: AsJson = False, url: Url = "") -> None:
    """End the registrations of a device; with its password it may come back."""
    _tell(client(url).post(f"/v1/devices/{segment(device)}/sign-out"), as_json)


def _call(device: str, to: str, number: str, hide: bool) -> dict[str, object]:
    given: dict[str, object] = {"device": device, "to": to, "hide": hide}
    return given | {"number": number} if number else given


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' ')}: {value}")
