"""Block lists, hours, forwarding and answer modes in documents: what is read, and what is said of mistakes."""

from __future__ import annotations

import asyncio

import pytest

from callcontrol.provisioning import Document, MemoryProvisioningStore, ProvisioningError, apply, export
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.terms import STANDARD_TERMS, Terms
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import CloudNumber, Forwarding, ForwardMode
from tests.support.acme import PLANS

ONE = "+33639981001"
SATELLITE = "+881" + "612345678"
"""A number of no country; there is no fictional one."""
USER = '[[account]]\nref = "a"\n[[user]]\nref = "u"\naccount = "a"\n'
NUMBER = USER + f'[[number]]\ne164 = "{ONE}"\nuser = "u"\n'
SLOT = '[[number.slot]]\nzone = "Europe/Paris"\ndays = ["mon"]\nfrom = "09:00"\nto = "12:00"\n'


def put(text: str, terms: Terms = STANDARD_TERMS) -> tuple[Inventory, tuple[str, ...]]:
    """The inventory of a document, and the warnings about it; what is exported makes the same."""

    async def scenario() -> tuple[Inventory, tuple[str, ...]]:
        store, again = MemoryProvisioningStore(lambda: 1e9), MemoryProvisioningStore(lambda: 1e9)
        changes = await apply([Document("n", text)], store, plans=PLANS, terms=terms)
        written = await export(store, secrets=True)
        await apply([Document("export", written)], again, plans=PLANS, terms=terms)
        assert await again.read() == await store.read()
        return await store.read(), changes.warnings

    return asyncio.run(scenario())


def number(text: str) -> CloudNumber:
    return put(NUMBER + text)[0].numbers[ONE]


def wrong(text: str) -> list[str]:
    with pytest.raises(ProvisioningError) as caught:
        put(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.rule("BLK-01", "INC-02")
def test_a_block_list_takes_numbers_beginnings_classes_and_hidden_callers() -> None:
    texts = '["06 39 98 99 99", "+33639989999", "+33 16*", "class:premium", "class:commercial", "anonymous"]'
    found = number(f"block = {texts}\nspam = ['+33199001234']\n")
    assert found.block == ("+33639989999", "+3316*", "class:premium", "class:commercial", "anonymous")
    assert found.spam == ("+33199001234",)


@pytest.mark.rule("BLK-01")
@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("class:premum", "'premum' is no class of numbers (did you mean 'premium'?)"),
        ("class:emergency", "'emergency' is no class"),
        ("33*", "'33*' is no beginning of numbers"),
        ("+33*16", "is no beginning of numbers"),
        ("*", "is no beginning of numbers"),
        ("hidden", "'hidden' names no caller"),
        ("+3363998", "'+3363998': it is too short"),
    ],
)
def test_what_is_no_caller_is_refused(entry: str, said: str) -> None:
    (problem,) = wrong(NUMBER + f"block = ['{entry}']\n")
    assert problem.startswith(f"n:9: number {ONE}: block: ")
    assert said in problem


@pytest.mark.rule("BLK-01")
def test_users_have_lists_for_all_their_numbers() -> None:
    text = USER + 'call_waiting = true\nblock = ["anonymous"]\nspam = ["+3319900*"]\n'
    user = put(text)[0].users["u"]
    assert (user.call_waiting, user.block, user.spam) == (True, ("anonymous",), ("+3319900*",))


def test_what_users_set_stays_when_documents_do_not_speak_of_it() -> None:
    async def scenario() -> None:
        store = MemoryProvisioningStore()
        device = '[[device]]\nref = "d"\nuser = "u"\nsim = "+33639980001"\n'
        text = USER + 'call_waiting = true\nblock = ["anonymous"]\n' + device + 'answer = "gsm"\n'
        await apply([Document("1", text)], store, plans=PLANS)
        assert not await apply([Document("2", USER + device)], store, plans=PLANS)
        await apply(
            [Document("3", USER + "block = []\n" + device.replace("sim =", "# ="))], store, plans=PLANS
        )
        kept = await store.read()
        assert (kept.users["u"].block, kept.devices["d"].answer) == ((), "voip")

    asyncio.run(scenario())


@pytest.mark.rule("INC-05")
def test_a_phone_may_answer_by_gsm() -> None:
    text = (
        USER + '[[device]]\nref = "d"\nuser = "u"\nsim = "+33639980001"\nanswer = "gsm"\nconfirm = "none"\n'
    )
    assert put(text)[0].devices["d"].answer == "gsm"


@pytest.mark.rule("FWD-05")
def test_a_policy_that_needs_media_is_refused_with_the_reason() -> None:
    text = (
        USER
        + '[[device]]\nref = "d"\nuser = "u"\nsim = "+33639980001"\nanswer = "gsm"\nconfirm = "press_1"\n'
    )
    (problem,) = wrong(text)
    assert "device d: confirm: 'press_1'" in problem
    assert "needs media that this version does not have" in problem


# -- forwarding -------------------------------------------------------------------------------------------


@pytest.mark.rule("FWD-01")
def test_forwarding_with_its_causes() -> None:
    found = number(
        '[number.forward]\nmode = "missed"\nto = "01 99 00 12 34"\ncauses = ["busy", "no_answer"]\n'
    )
    assert found.forward == Forwarding(
        mode=ForwardMode.MISSED, to="+33199001234", causes=("no_answer", "busy")
    )
    assert number('[number.forward]\nmode = "all"\nto = "+33199001234"\n').forward.mode is ForwardMode.ALL


@pytest.mark.rule("FWD-01", "OUT-04", "OUT-05")
@pytest.mark.parametrize(
    ("forward", "said"),
    [
        ('mode = "some"', "n:10: number +33639981001: forward: mode: 'some' is none of off, all, missed"),
        ('mode = "all"', "forward: to: calls are forwarded to nobody"),
        ('mode = "all"\nto = "nobody"', "n:11: number +33639981001: forward: to: 'nobody': it is not a"),
        ('mode = "all"\nto = "112"', "forward: to: "),
        ('mode = "all"\nto = "+33112"', "forward: to: "),
        (f'mode = "all"\nto = "{ONE}"', "to: +33639981001 is the number itself (forward to another number)"),
        (
            'mode = "all"\nto = "+33899' + '000000"',
            "is premium, which nobody may call (classes that are barred",
        ),
        ('mode = "all"\nto = "+33700' + '0000000000"', "is a number of machines"),
        (
            'mode = "missed"\nto = "+33199001234"\ncauses = ["bussy"]',
            "'bussy' is no cause (did you mean 'busy'?)",
        ),
        ('mode = "missed"\nto = "+33199001234"\ncauses = []', "a call is never missed for none of them"),
    ],
)
def test_a_target_that_cannot_be_is_refused(forward: str, said: str) -> None:
    found = wrong(NUMBER + "[number.forward]\n" + forward + "\n")
    assert any(said in each for each in found), found


@pytest.mark.rule("FWD-01")
def test_nobody_forwards_to_a_gateway_number() -> None:
    gateway = (
        '[[trunk]]\nref = "t"\naccept_from = ["192.0.2.1/32"]\n'
        '[[gateway_number]]\ne164 = "+33199000001"\ntrunk = "t"\n'
    )
    text = NUMBER + '[number.forward]\nmode = "all"\nto = "+33199000001"\n' + gateway
    assert any("is a gateway number of the platform" in each for each in wrong(text))


@pytest.mark.rule("FWD-01")
def test_what_is_barred_is_a_setting() -> None:
    text = NUMBER + '[number.forward]\nmode = "all"\nto = "+33639989999"\n'
    with pytest.raises(ProvisioningError, match="is mobile, which nobody may call"):
        put(text, Terms(barred=("mobile",)))
    assert put(text)[0].numbers[ONE].forward.to == "+33639989999"


# -- hours ------------------------------------------------------------------------------------------------


@pytest.mark.rule("SLOT-01")
def test_slots_holidays_and_days_of_their_own() -> None:
    more = (
        '[[number.slot]]\ndays = ["fri", "sat"]\nfrom = "22:00"\nto = "06:00"\n'
        '[[number.special]]\ndate = 2026-12-24\nfrom = "09:00"\nto = "12:00"\nname = "half day"\n'
        '[[number.special]]\ndate = "2026-12-24"\nfrom = "14:00"\nto = "24:00"\n'
        "[[number.special]]\ndate = 2026-11-24\nclosed = true\n"
    )
    found = number('holidays = ["FR", "FR", "DE-BY"]\n' + SLOT + more)
    assert found.hours == Hours(
        zone="Europe/Paris",
        slots=(
            WeeklySlot(days=(0,), span=Span(start=540, end=720)),
            WeeklySlot(days=(4, 5), span=Span(start=1320, end=360)),
        ),
        holidays=("FR", "DE-BY"),
        special=(
            SpecialDay(date="2026-11-24"),
            SpecialDay(
                date="2026-12-24",
                spans=(Span(start=540, end=720), Span(start=840, end=1440)),
                name="half day",
            ),
        ),
    )


@pytest.mark.rule("SLOT-01")
def test_the_zone_is_that_of_the_number_where_none_is_written() -> None:
    assert number(SLOT.replace('zone = "Europe/Paris"\n', "")).hours == number(SLOT).hours
    assert number("").hours is None
    homeless = (NUMBER + SLOT.replace('zone = "Europe/Paris"\n', "")).replace(ONE, SATELLITE)
    assert any("zone: is missing" in each for each in wrong(homeless))


@pytest.mark.rule("SLOT-01")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            SLOT.replace("Europe/Paris", "Mars/Olympus"),
            "slot: zone: 'Mars/Olympus' is not a time zone (write one",
        ),
        (
            SLOT + SLOT.replace("Paris", "Rome").replace("mon", "tue"),
            "slot: the slots are in Europe/Paris and",
        ),
        (SLOT.replace('"mon"', '"monday"'), "n:11: number +33639981001: slot: days: 'monday' is no day"),
        (SLOT.replace('["mon"]', "[]"), "slot: days: is missing"),
        (SLOT.replace("09:00", "9:00"), "n:12: number +33639981001: slot: from: '9:00' is not a time of day"),
        (SLOT.replace("12:00", "25:00"), "n:13: number +33639981001: slot: to: '25:00' is not a time of day"),
        (SLOT.replace("09:00", "24:00"), "slot: from: 24:00 is the end of a day"),
        (SLOT.replace("to =", "till ="), "slot: till: unknown key"),
        (
            SLOT + SLOT.replace("09:00", "11:59"),
            "mon 09:00-12:00 and mon 11:59-12:00 overlap on mon at 11:59",
        ),
        (
            SLOT.replace("mon", "sun").replace("12:00", "08:00") + SLOT.replace("09:00", "07:00"),
            "sun 09:00-08:00 and mon 07:00-12:00 overlap on mon at 07:00",
        ),
        ('holidays = ["FR"]\n', "holidays: these are exceptions from [[number.slot]], and there is none"),
        ('holidays = ["XX"]\n' + SLOT, "holidays: 'XX' is no calendar of holidays"),
        ('holidays = ["FR-XX"]\n' + SLOT, "holidays: 'FR-XX' is no calendar of holidays (FR has"),
        (SLOT + "[[number.special]]\ndate = 2026-02-30x\n", "not valid TOML"),
        (
            SLOT + '[[number.special]]\ndate = "24.12.2026"\nclosed = true\n',
            "'24.12.2026' is no date (write date",
        ),
        (SLOT + "[[number.special]]\ndate = 2026-12-24\n", "special: closed: the day has no hours"),
        (
            SLOT + '[[number.special]]\ndate = 2026-12-24\nclosed = true\nfrom = "09:00"\nto = "10:00"\n',
            "special: closed: the day is closed and has hours",
        ),
        (
            SLOT + "[[number.special]]\ndate = 2026-12-24\nclosed = true\n" * 2,
            "special: date: 2026-12-24 is written already",
        ),
        (
            SLOT + '[[number.special]]\ndate = 2026-12-24\nfrom = "09:00"\nto = "12:00"\n' * 2,
            "special: 09:00-12:00 and 09:00-12:00 of 2026-12-24 overlap",
        ),
    ],
)
def test_hours_that_cannot_be_are_refused(text: str, said: str) -> None:
    found = wrong(NUMBER + text)
    assert any(said in each for each in found), found


@pytest.mark.parametrize(
    "text", ["voicemail = true\n", "spam = ['anonymous']\n", SLOT, 'holidays = ["FR"]\n']
)
def test_only_a_number_with_a_user_has_settings(text: str) -> None:
    found = wrong(NUMBER.replace('\nuser = "u"', "") + text)
    assert any("only a number with a user has it" in each for each in found), found


@pytest.mark.rule("INC-08")
def test_voicemail_without_a_server_is_a_warning() -> None:
    text = NUMBER + "voicemail = true\n"
    _, (warning,) = put(text)
    assert warning.startswith(f"n:6: number {ONE}: voicemail: there is no voicemail server")
    assert put(text, Terms(voicemail=True))[1] == ()
