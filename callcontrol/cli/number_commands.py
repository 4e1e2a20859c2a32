"""``cloudline number …``: the number inventory, directly in the database of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from callcontrol.cli import calling_commands, line_commands, live_commands, port_commands
from callcontrol.cli.number_desk import AsJson, ConfigFile, Deed, actor, ask, do, number_json, stamp, when
from callcontrol.cli.options import Limit
from callcontrol.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from numbering.inventory import NumberInventory
    from numbering.models import CloudNumber

app = typer.Typer(
    help="Numbers: find them, give them to users, take them back, port them.", no_args_is_help=True
)

app.add_typer(port_commands.app, name="port-in")
calling_commands.add_to(app)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="In E.164, +33…")]
Numbers = Annotated[list[str], typer.Argument(metavar="NUMBER...", help="In E.164, +33…")]
User = Annotated[str, typer.Argument(metavar="USER", help="Ref of a user.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Expires = Annotated[
    str,
    typer.Option("--expires", metavar="TIME", help="When the subscription ends: 2027-01-31 or with a time."),
]


def shown(number: CloudNumber, as_json: bool, words: str) -> None:
    """What became of a number."""
    if as_json:
        print_json(number_json(number))
        return
    until = f" until {moment(when(number.until))} UTC" if number.until else ""
    state = "" if words == number.state.value else f", {number.state.value}"
    typer.echo(f"{number.e164}: {words}{state}{until}")


@app.command()
def search(
    user: Annotated[
        str, typer.Option("--user", help="What this user may have; what he gave up comes first.")
    ] = "",
    country: Annotated[str, typer.Option("--country", help="Only of a country: FR.")] = "",
    category: Annotated[str, typer.Option("--category", help="standard or vip.")] = "",
    pattern: Annotated[
        str, typer.Option("--pattern", help="Digits with wildcards: ? is one digit, * any number of them.")
    ] = "",
    run: Annotated[int, typer.Option("--run", help="So many consecutive numbers.")] = 0,
    min_score: Annotated[int, typer.Option("--min-score", help="As easy to remember as that, 0 to 100.")] = 0,
    after: Annotated[str, typer.Option("--after", help="Go on behind this number.")] = "",
    limit: Limit = 50,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Numbers that may be had."""
    if run:
        runs = ask(
            config,
            lambda desk: desk.finder.search_runs(
                run, country=country, category=category, pattern=pattern, limit=limit
            ),
        )
        if as_json:
            print_json([list(each) for each in runs])
        else:
            print_table(
                ["FIRST", "LAST", "COUNT"], ((r[0], r[-1], len(r)) for r in runs), "there is no such run"
            )
        return
    found = ask(
        config,
        lambda desk: desk.finder.search(
            user=user,
            country=country,
            category=category,
            pattern=pattern,
            min_score=min_score,
            after=after,
            limit=limit,
        ),
    )
    if as_json:
        print_json(
            [
                number_json(each.number)
                | {"score": each.score, "formerly_yours": each.formerly_yours, "national": each.national}
                for each in found
            ]
        )
        return
    print_table(
        ["NUMBER", "CATEGORY", "SCORE", "STATE", ""],
        (
            (
                each.number.e164,
                each.number.category,
                each.score,
                each.number.state.value,
                "formerly yours" if each.formerly_yours else "",
            )
            for each in found
        ),
        "no number fits",
    )


@app.command()
def show(number: Number, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """One number: its state, its holder, what it can do."""
    from numbering.policy import VIP_POLICY
    from numbering.vip import score

    async def look(desk: NumberInventory) -> tuple[CloudNumber, tuple[str, ...]]:
        known = await desk.get(number)
        return known, desk.rules_of(known.e164).capabilities

    known, capabilities = ask(config, look)
    view = number_json(known) | {"score": score(known.e164, VIP_POLICY), "capabilities": list(capabilities)}
    if as_json:
        print_json(view)
        return
    print_table(
        ["", ""],
        (
            (name, ", ".join(map(str, value)) if isinstance(value, list) else value)
            for name, value in view.items()
        ),
        "",
    )


@app.command()
def history(number: Number, limit: Limit = 100, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """What happened to a number, the latest first."""
    found = ask(config, lambda desk: desk.history(number, limit))
    if as_json:
        print_json(
            [
                {
                    "at": when(event.at),
                    "action": event.action,
                    "before": event.before and event.before.value,
                    "after": event.after and event.after.value,
                    "former": event.former,
                    "user": event.user,
                    "actor": event.actor,
                    "reason": event.reason,
                }
                for _, event in found
            ]
        )
        return
    print_table(
        ["AT (UTC)", "ACTION", "FROM", "TO", "USER", "ACTOR", "REASON"],
        (
            (
                moment(when(event.at)),
                event.action,
                event.before.value if event.before else "-",
                event.after.value if event.after else "-",
                event.user or event.former or "-",
                event.actor,
                event.reason,
            )
            for _, event in found
        ),
        f"nothing is known of {number}",
    )


@app.command()
def add(
    numbers: Numbers,
    category: Annotated[
        str, typer.Option("--category", help="standard or vip; default: by the digits.")
    ] = "",
    reason: Reason = "added to the stock",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Bring numbers into the stock, all or none."""
    deed = Deed("add", "number", numbers[0], f"{len(numbers)} numbers")
    added = do(config, deed, lambda desk: desk.add(numbers, category=category, actor=actor(), reason=reason))
    if as_json:
        print_json([number_json(each) for each in added])
        return
    for each in added:
        shown(each, False, each.category)


@app.command()
def withdraw(number: Number, reason: Reason = "withdrawn from the stock", config: ConfigFile = None) -> None:
    """Take a number that nobody holds out of the stock, for good."""
    do(
        config,
        Deed("withdraw", "number", number),
        lambda desk: desk.withdraw(number, actor=actor(), reason=reason),
    )
    typer.echo(f"{number}: none of our numbers any more")


@app.command()
def reserve(
    user: User,
    numbers: Numbers,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="For how long; default: the setting.")
    ] = 0.0,
    reason: Reason = "reserved",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Keep numbers for a user for a while, all or none."""
    deed = Deed("reserve", "number", numbers[0], f"{len(numbers)} numbers for {user}")
    kept = do(
        config, deed, lambda desk: desk.reserve(numbers, user, seconds=seconds, actor=actor(), reason=reason)
    )
    if as_json:
        print_json([number_json(each) for each in kept])
        return
    for each in kept:
        shown(each, False, f"kept for {user}")


@app.command()
def unreserve(
    number: Number, reason: Reason = "not wanted", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """End a reservation."""
    result = do(
        config,
        Deed("unreserve", "number", number),
        lambda desk: desk.unreserve(number, actor=actor(), reason=reason),
    )
    shown(result, as_json, "not reserved any more")


@app.command()
def assign(
    number: Number,
    user: User,
    expires: Expires = "",
    reason: Reason = "assigned",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Give a number of the stock, or one that the user has reserved, to a user."""
    at = stamp(expires)
    deed = Deed("assign", "number", number, f"to {user}")
    result = do(
        config, deed, lambda desk: desk.assign(number, user, expires_at=at, actor=actor(), reason=reason)
    )
    shown(result, as_json, f"held by {user}")


@app.command()
def release(
    number: Number, reason: Reason = "released", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Take a number from its holder: it rests in quarantine, and only he may have it back."""
    result = do(
        config,
        Deed("release", "number", number, reason),
        lambda desk: desk.release(number, actor=actor(), reason=reason),
    )
    shown(result, as_json, "given up")


@app.command("take-back")
def take_back(
    number: Number,
    user: User,
    expires: Expires = "",
    reason: Reason = "taken back",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Give a number in quarantine back to its former holder, as a new number."""
    at = stamp(expires)
    deed = Deed("take_back", "number", number)
    result = do(
        config, deed, lambda desk: desk.take_back(number, user, expires_at=at, actor=actor(), reason=reason)
    )
    shown(result, as_json, f"held by {user}")


@app.command()
def reassign(
    number: Number,
    user: User,
    with_history: Annotated[
        bool,
        typer.Option("--with-history/--without-history", help="Whether its settings and calls go with it."),
    ] = False,
    reason: Reason = "reassigned",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Pass a number on to another user of the same company."""
    result = do(
        config,
        Deed("reassign", "number", number, f"to {user}"),
        lambda desk: desk.reassign(number, user, with_history=with_history, actor=actor(), reason=reason),
    )
    shown(result, as_json, f"held by {user}")


SuspendUser = Annotated[str, typer.Option("--user", help="A user with all numbers, instead of one number.")]
SuspendAccount = Annotated[str, typer.Option("--account", help="A whole account.")]
OneNumber = Annotated[str, typer.Argument(metavar="[NUMBER]", help="In E.164, +33…")]


@app.command()
def suspend(
    number: OneNumber = "",
    user: SuspendUser = "",
    account: SuspendAccount = "",
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="fraud, unpaid, territory, false_identity, other; more behind a colon."
        ),
    ] = "other",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Let a number, a user or an account make and take no calls; emergency rules still hold."""
    _suspend(number, user, account, reason, True, as_json, config)


@app.command()
def resume(
    number: OneNumber = "",
    user: SuspendUser = "",
    account: SuspendAccount = "",
    reason: Reason = "resumed",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """End a suspension."""
    _suspend(number, user, account, reason, False, as_json, config)


def _suspend(
    number: str, user: str, account: str, reason: str, suspended: bool, as_json: bool, config: ConfigFile
) -> None:
    if sum(map(bool, (number, user, account))) != 1:
        raise typer.BadParameter("give a number, --user or --account")
    action = "suspend" if suspended else "resume"
    words = "suspended" if suspended else "not suspended any more"
    if number:
        result = do(
            config,
            Deed(action, "number", number, reason),
            lambda desk: (desk.suspend if suspended else desk.resume)(number, actor=actor(), reason=reason),
        )
        shown(result, as_json, words)
        return
    count = do(
        config,
        Deed(action, "user" if user else "account", user or account, reason),
        lambda desk: (
            desk.suspend_user(user, actor=actor(), reason=reason, suspended=suspended)
            if user
            else desk.suspend_account(account, actor=actor(), reason=reason, suspended=suspended)
        ),
    )
    if as_json:
        print_json({"user": user, "account": account, "suspended": suspended, "numbers": count})
    else:
        typer.echo(f"{user or account}: {words}, with {count} numbers")


@app.command()
def renew(
    number: Number,
    expires: Annotated[
        str,
        typer.Argument(metavar="TIME", help="Until when: 2027-01-31, or with a time; never: without end."),
    ],
    reason: Reason = "renewed",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Let the subscription of a number run until a time."""
    at = 0.0 if expires == "never" else stamp(expires)
    result = do(
        config,
        Deed("renew", "number", number),
        lambda desk: desk.renew(number, at, actor=actor(), reason=reason),
    )
    shown(result, as_json, "renewed")


line_commands.add_to(app)
app.command("usage")(live_commands.usage)
