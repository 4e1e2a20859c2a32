"""Classes of numbers: a table for each country, and every trap of the library by its name."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType, ShortNumberCost, shortnumberinfo

from numbering.classes import classify, emergency_number, labels_of, local_number, short_number
from numbering.e164 import country_of, is_fiction, read
from numbering.national import PLANS
from numbering.plans import SHORT_CLASSES, NumberClass

C = NumberClass

# country -> what is dialled there (national, short or with a plus) -> E.164 or short digits, class
DIALLED: dict[str, list[tuple[str, str, NumberClass]]] = {
    "FR": [
        ("0199001234", "+33199001234", C.FIXED),
        ("0939000000", "+33939000000", C.FIXED),
        ("0639981001", "+33639981001", C.MOBILE),
        ("0756810374", "+33756810374", C.MOBILE),
        ("07001234567890", "+337001234567890", C.MACHINE),
        ("0800000000", "+33800000000", C.TOLL_FREE),
        ("0805123456", "+33805123456", C.TOLL_FREE),
        ("0806000000", "+33806000000", C.FIXED),
        ("0810123456", "+33810123456", C.SHARED_COST),
        ("0825123456", "+33825123456", C.SHARED_COST),
        ("0899123456", "+33899123456", C.PREMIUM),
        *((f"08{n}0123456", f"+338{n}0123456", C.PREMIUM) for n in "345678"),
        ("0836123456", "+33836123456", C.PREMIUM),
        ("0860123456", "+33860123456", C.PREMIUM),
        ("0884123456", "+33884123456", C.PREMIUM),
        ("0901123456", "+33901123456", C.FIXED),
        ("09011234567890", "+339011234567890", C.MACHINE),
        ("0937000000", "+33937000000", C.FIXED),
        ("0939400000", "+33939400000", C.FIXED),
        ("0948000000", "+33948000000", C.FIXED),
        ("0162123456", "+33162123456", C.FIXED),
        ("3179", "3179", C.FREE_SHORT),
        ("3008", "3008", C.UNKNOWN_SHORT),
        ("3114", "3114", C.FREE_SHORT),
        ("3199", "3199", C.FREE_SHORT),
        ("3200", "3200", C.PRICED_SHORT),
        ("3919", "3919", C.FREE_SHORT),
        ("1014", "1014", C.PRICED_SHORT),
        ("118218", "118218", C.PRICED_SHORT),
        ("116111", "116111", C.FREE_SHORT),
        ("116117", "116117", C.EMERGENCY),
        ("12", "12", C.UNKNOWN_SHORT),
    ],
    "BE": [
        ("021234567", "+3221234567", C.FIXED),
        ("042123456", "+3242123456", C.FIXED),
        ("043123456", "+3243123456", C.FIXED),
        ("0455123456", "+32455123456", C.MOBILE),
        ("0460123456", "+32460123456", C.MOBILE),
        ("0466123456", "+32466123456", C.MOBILE),
        ("0470123456", "+32470123456", C.MOBILE),
        ("0499123456", "+32499123456", C.MOBILE),
        ("0441234567", "+32441234567", C.UNKNOWN),
        ("0771234567890", "+32771234567890", C.MACHINE),
        ("077123456", "+3277123456", C.MACHINE),
        ("080012345", "+3280012345", C.TOLL_FREE),
        ("070123456", "+3270123456", C.SHARED_COST),
        ("078151234", "+3278151234", C.FIXED),
        ("090012345", "+3290012345", C.PREMIUM),
        ("101", "101", C.EMERGENCY),
        ("102", "102", C.FREE_SHORT),
        ("1207", "1207", C.PRICED_SHORT),
        ("116000", "116000", C.FREE_SHORT),
        ("1999", "1999", C.UNKNOWN_SHORT),
    ],
    "GB": [
        ("02079460123", "+442079460123", C.FIXED),
        ("03001234567", "+443001234567", C.FIXED),
        ("05612345678", "+445612345678", C.VOIP),
        ("07700900123", "+447700900123", C.MOBILE),
        ("07624123456", "+447624123456", C.MOBILE),
        ("07012345678", "+447012345678", C.PREMIUM),
        ("07612345678", "+447612345678", C.PREMIUM),
        ("08081570123", "+448081570123", C.TOLL_FREE),
        ("08451234567", "+448451234567", C.SHARED_COST),
        ("08701234567", "+448701234567", C.SHARED_COST),
        ("08711234567", "+448711234567", C.PREMIUM),
        ("09098790123", "+449098790123", C.PREMIUM),
        ("101", "101", C.FREE_SHORT),
        ("111", "111", C.FREE_SHORT),
        ("999", "999", C.EMERGENCY),
        ("118500", "118500", C.PRICED_SHORT),
        ("195", "195", C.UNKNOWN_SHORT),
    ],
    "US": [
        ("2125550123", "+12125550123", C.FIXED_OR_MOBILE),
        ("8005550123", "+18005550123", C.TOLL_FREE),
        ("8331234567", "+18331234567", C.TOLL_FREE),
        ("9001234567", "+19001234567", C.PREMIUM),
        ("2129761234", "+12129761234", C.PREMIUM),
        ("5001234567", "+15001234567", C.MACHINE),
        ("7001234567", "+17001234567", C.PREMIUM),
        ("911", "911", C.EMERGENCY),
        ("988", "988", C.FREE_SHORT),
        ("411", "411", C.PRICED_SHORT),
        ("24280", "24280", C.UNKNOWN_SHORT),
    ],
    "CA": [
        ("6135550123", "+16135550123", C.FIXED_OR_MOBILE),
        ("6001234567", "+16001234567", C.PREMIUM),
        ("911", "911", C.EMERGENCY),
        ("211", "211", C.FREE_SHORT),
        ("611", "611", C.UNKNOWN_SHORT),
    ],
    "AT": [("0800123456", "+43800123456", C.TOLL_FREE), ("147", "147", C.FREE_SHORT)],
    "DK": [("20123456", "+4520123456", C.FIXED_OR_MOBILE), ("114", "114", C.FREE_SHORT)],
    "IL": [("0502345678", "+972502345678", C.MOBILE), ("112", "112", C.EMERGENCY)],
    "SE": [("0701234567", "+46701234567", C.MOBILE), ("90000", "90000", C.EMERGENCY)],
    "LU": [("621123456", "+352621123456", C.MOBILE), ("116111", "116111", C.FREE_SHORT)],
    "MX": [("5512345678", "+525512345678", C.FIXED_OR_MOBILE), ("060", "060", C.EMERGENCY)],
    "LT": [("061234567", "+37061234567", C.MOBILE), ("116111", "116111", C.FREE_SHORT)],
    "PL": [("512345678", "+48512345678", C.MOBILE), ("985", "985", C.EMERGENCY)],
    "BR": [("11961234567", "+5511961234567", C.MOBILE), ("188", "188", C.FREE_SHORT)],
    "CZ": [("601123456", "+420601123456", C.MOBILE), ("116111", "116111", C.FREE_SHORT)],
    "PR": [("7875550123", "+17875550123", C.FIXED_OR_MOBILE), ("988", "988", C.FREE_SHORT)],
    "SK": [("0912123456", "+421912123456", C.MOBILE), ("116111", "116111", C.FREE_SHORT)],
    "PE": [("912345678", "+51912345678", C.MOBILE), ("116", "116", C.EMERGENCY)],
    "NZ": [("0211234567", "+64211234567", C.MOBILE), ("018", "018", C.PRICED_SHORT)],
    # No table: the library is all there is.
    "DE": [("015123456789", "+4915123456789", C.MOBILE), ("110", "110", C.EMERGENCY)],
}


@pytest.mark.rule("OUT-04", "NUM-01")
@pytest.mark.parametrize(
    ("country", "text", "number", "number_class"),
    [(country, *row) for country, rows in DIALLED.items() for row in rows],
)
def test_what_is_dialled_in_a_country(
    country: str, text: str, number: str, number_class: NumberClass
) -> None:
    found = short_number(text, country) or read(text, country)
    assert found == number
    assert classify(str(found), country) is number_class


def test_every_table_is_tested() -> None:
    assert {plan.country for plan in PLANS.all()} == set(DIALLED) - {"DE"}


EMERGENCY = {
    "FR": "15 17 18 112 114 115 119 191 196 197 116000 116117",
    "RE": "15 17 18 112 114 115 119 191 196 197 116000 116117",
    "BE": "100 101 112",
    "GB": "112 999 18000",
    "GG": "112 999",
    "US": "911",
    "CA": "911",
    "PR": "911",
    "MX": "911",
    "PL": "112 997 998 999",
    "SE": "112",
    "IL": "100 101 102",
    "AT": "112 122 133 144",
    "NZ": "111",
    "BR": "190 192 193",
    "PE": "105 106 116",
    "DK": "112",
    "LU": "112 113",
    "LT": "112",
    "CZ": "112 150 155 156 158",
    "SK": "112 150 155 158 159",
}


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("country", EMERGENCY)
def test_emergency_numbers_of_a_country(country: str) -> None:
    for number in EMERGENCY[country].split():
        assert classify(number, country) is C.EMERGENCY
        assert emergency_number(number, ("FR", country)) == number


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize(
    ("text", "countries", "emergency"),
    [
        ("112", (), "112"),
        ("911", ("FR",), "911"),
        ("15", ("FR",), "15"),
        ("1 5", ("FR",), "15"),
        ("116 000", ("FR",), "116000"),
        ("115", ("RE",), "115"),
        ("999", ("FR",), ""),
        ("999", ("FR", "GB"), "999"),
        ("+33112", ("FR",), "112"),
        ("0033112", ("FR",), "112"),
        ("+112", ("FR",), "112"),
        ("+1911", ("US",), "911"),
        ("110", ("DE",), "110"),  # no table: the library knows
        ("urn:service:sos", (), "urn:service:sos"),
        ("URN:service:sos.fire", (), "urn:service:sos.fire"),
        ("1120", ("FR",), ""),
        ("0112", ("FR",), ""),
        ("3179", ("FR",), ""),
        ("+33199001234", ("FR",), ""),
        ("ana", ("FR",), ""),
        ("١١٢", ("FR",), ""),
        ("", ("FR",), ""),
    ],
)
def test_emergency_numbers_as_dialled(text: str, countries: tuple[str, ...], emergency: str) -> None:
    assert emergency_number(text, countries) == emergency


# -- what the library alone gets wrong; when one of these fails it has learnt, and the table may be judged anew --


def kind(number: str) -> int:
    return int(phonenumbers.number_type(phonenumbers.parse(number)))


def cost(digits: str, country: str) -> int:
    number = phonenumbers.parse(digits, country)
    return int(shortnumberinfo.expected_cost_for_region(number, country))


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("number", ["114", "115", "119", "191", "196", "197", "116000", "116117"])
def test_trap_french_emergency_numbers_that_the_library_does_not_know(number: str) -> None:
    assert not shortnumberinfo.is_emergency_number(number, "FR")
    assert classify(number, "FR") is C.EMERGENCY


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize("number", ["3939", "1014"])
def test_trap_numbers_with_their_own_price_are_not_premium_all(number: str) -> None:
    assert cost(number, "FR") == ShortNumberCost.PREMIUM_RATE
    assert classify(number, "FR") is C.PRICED_SHORT


@pytest.mark.rule("OUT-04")
def test_trap_a_free_number_within_a_priced_range() -> None:
    assert cost("3919", "FR") == ShortNumberCost.PREMIUM_RATE
    assert classify("3919", "FR") is C.FREE_SHORT


@pytest.mark.rule("NUM-01", "OUT-04")
def test_trap_french_machine_numbers_are_too_long_for_the_library() -> None:
    number = "+337001234567890"
    assert not phonenumbers.is_possible_number(phonenumbers.parse(number))
    assert read("07001234567890", "FR") == read(number) == number
    assert classify(number) is C.MACHINE


@pytest.mark.rule("NUM-01", "OUT-04")
@pytest.mark.parametrize(
    ("dialled", "number", "country", "number_class"),
    [
        ("0692123456", "+262692123456", "RE", C.MOBILE),
        ("0262123456", "+262262123456", "RE", C.FIXED),
        ("0639123456", "+262639123456", "YT", C.MOBILE),
        ("0269123456", "+262269123456", "YT", C.FIXED),
        ("0690123456", "+590690123456", "GP", C.MOBILE),
        ("0590123456", "+590590123456", "GP", C.FIXED),
        ("0694123456", "+594694123456", "GF", C.MOBILE),
        ("0696123456", "+596696123456", "MQ", C.MOBILE),
        ("0596123456", "+596596123456", "MQ", C.FIXED),
        ("0693123456", "+262693123456", "RE", C.MOBILE),
        ("0691312345", "+590691312345", "GP", C.MOBILE),
        ("0697123456", "+596697123456", "MQ", C.MOBILE),
        ("0709012345", "+590709012345", "GP", C.MOBILE),
        ("0709112345", "+596709112345", "MQ", C.MOBILE),
        ("0709212345", "+262709212345", "RE", C.MOBILE),
        ("0709312345", "+594709312345", "GF", C.MOBILE),
        ("0709352345", "+262709352345", "YT", C.MOBILE),
        ("0594312345", "+594594312345", "GF", C.FIXED),
        ("0263012345", "+262263012345", "RE", C.FIXED),
        ("0598712345", "+590598712345", "GP", C.FIXED),
        ("0268812345", "+262268812345", "RE", C.FIXED),
        ("0268912345", "+262268912345", "YT", C.FIXED),
        ("0939512345", "+590939512345", "GP", C.FIXED),
        ("0939612345", "+594939612345", "GF", C.FIXED),
        ("0939712345", "+596939712345", "MQ", C.FIXED),
        ("0939812345", "+262939812345", "YT", C.FIXED),
        ("0939912345", "+262939912345", "RE", C.FIXED),
        ("0947512345", "+590947512345", "GP", C.FIXED),
        ("0947612345", "+594947612345", "GF", C.FIXED),
        ("0947712345", "+596947712345", "MQ", C.FIXED),
        ("0947812345", "+262947812345", "YT", C.FIXED),
        ("0947912345", "+262947912345", "RE", C.FIXED),
        ("0976412345", "+594976412345", "GF", C.FIXED),
        ("0508412345", "+508412345", "PM", C.FIXED),
        ("0508551234", "+508551234", "PM", C.MOBILE),
        ("0508421234", "+508421234", "PM", C.FIXED_OR_MOBILE),
        ("0708401234", "+508708401234", "PM", C.MOBILE),
    ],
)
def test_trap_overseas_numbers_have_country_codes_of_their_own(
    dialled: str, number: str, country: str, number_class: NumberClass
) -> None:
    international = f"+33{dialled[1:]}"
    if dialled.startswith(("06", "07")):
        assert not phonenumbers.is_valid_number(phonenumbers.parse(international))
    assert read(dialled, "FR") == read(international) == number
    assert country_of(number) == country
    assert classify(number) is number_class


@pytest.mark.rule("OUT-04")
def test_trap_machines_of_belgium_are_unknown_to_the_library() -> None:
    number = "+32771234567890"
    assert not phonenumbers.is_possible_number(phonenumbers.parse(number))
    assert read(number) == read("0771234567890", "BE") == number
    assert classify(number) is C.MACHINE


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize("number", ["+508551234", "+508441234", "+508401234", "+508561234"])
def test_mobiles_of_six_digits_on_saint_pierre(number: str) -> None:
    assert read(number) == number
    assert (classify(number), country_of(number)) == (C.MOBILE, "PM")
    assert read(f"0508{number[4:]}", "PM") == number


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize("number", ["+33840123456", "+33884123456"])
def test_trap_closed_french_ranges_that_the_library_gives_a_shared_cost(number: str) -> None:
    assert kind(number) == PhoneNumberType.SHARED_COST
    assert classify(number) is C.PREMIUM


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize(
    ("country", "numbers"),
    [
        ("BE", "101 112"),
        ("GB", "999 112"),
        ("US", "911"),
        ("CA", "911"),
        ("MX", "911"),
        ("PL", "112 997 999"),
        ("SE", "112"),
        ("IL", "100 101 102"),
        ("AT", "112 133 144"),
        ("NZ", "111"),
        ("BR", "190"),
        ("PE", "105"),
    ],
)
def test_what_the_library_knows_as_emergency_stays_emergency(country: str, numbers: str) -> None:
    for number in numbers.split():
        assert shortnumberinfo.is_emergency_number(number, country)
        assert classify(number, country) is C.EMERGENCY


@pytest.mark.parametrize("number", ["+262639123456"])
def test_trap_a_mobile_range_of_mayotte_is_invalid_for_the_library(number: str) -> None:
    assert not phonenumbers.is_valid_number(phonenumbers.parse(number))
    assert (classify(number), country_of(number)) == (C.MOBILE, "YT")


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize(
    "number", ["+12125550223", "+16135550223", "+17875550223", "+525512345678", "+4520123456"]
)
def test_trap_some_countries_do_not_tell_mobile_from_fixed(number: str) -> None:
    assert kind(number) == PhoneNumberType.FIXED_LINE_OR_MOBILE
    assert classify(number) is C.FIXED_OR_MOBILE


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize("number", ["+447700900123", "+447700900999"])
def test_trap_british_drama_numbers_are_invalid_for_the_library(number: str) -> None:
    assert not phonenumbers.is_valid_number(phonenumbers.parse(number))
    assert read("0" + number[3:], "GB") == number
    assert (classify(number), country_of(number)) == (C.MOBILE, "GB")


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("number", ["116000", "116006", "116111", "116117"])
def test_trap_harmonised_numbers_are_free_or_emergency(number: str) -> None:
    assert not shortnumberinfo.is_emergency_number(number, "FR")
    assert classify(number, "FR") in (C.EMERGENCY, C.FREE_SHORT)


def test_trap_numbers_of_the_british_plan_on_guernsey() -> None:
    assert phonenumbers.region_code_for_number(phonenumbers.parse("+447911123456")) == "GG"
    assert classify("+447911123456") is C.MOBILE
    assert classify("999", "GG") is C.EMERGENCY


def test_trap_puerto_rico_is_not_the_united_states() -> None:
    assert country_of("+17875550223") == "PR"
    assert classify("911", "PR") is C.EMERGENCY


def test_trap_french_versatile_numbers_are_not_voip_in_law() -> None:
    assert kind("+33939000000") == PhoneNumberType.VOIP
    assert classify("+33939000000") is C.FIXED


@pytest.mark.rule("NUM-01", "OUT-04")
@pytest.mark.parametrize(
    ("number", "number_class"),
    [
        ("+33639980001", C.MOBILE),
        ("+33199000000", C.FIXED),
        ("+33261910000", C.FIXED),
        ("+33353010000", C.FIXED),
        ("+33465710000", C.FIXED),
        ("+33536490000", C.FIXED),
        ("+447700900123", C.MOBILE),
        ("+442079460123", C.FIXED),
        ("+448081570123", C.TOLL_FREE),
        ("+449098790123", C.PREMIUM),
        ("+12125550123", C.FIXED_OR_MOBILE),
        ("+15550123", C.FIXED_OR_MOBILE),
    ],
)
def test_trap_fiction_is_legal_and_has_a_class(number: str, number_class: NumberClass) -> None:
    assert is_fiction(number)
    assert read(number) == number
    assert classify(number) is number_class


# -- reading ------------------------------------------------------------------------------------------------


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize("prefix", ["6000", "6009", "5090", "5127", "5159", "5260", "5309", "52304", "70846"])
def test_routing_prefixes_of_ported_numbers_are_taken_off(prefix: str) -> None:
    assert read(f"+33{prefix}639981001") == "+33639981001"
    assert read(f"0{prefix}639981001", "FR") == "+33639981001"
    assert read(f"0{prefix}0639981001", "FR") == "+33639981001"
    assert read(f"+33{prefix}692123456") == "+262692123456"


@pytest.mark.rule("NUM-01")
def test_a_number_that_begins_like_a_routing_prefix_is_left_alone() -> None:
    assert read("0512123456", "FR") == "+33512123456"
    assert read("0600012345", "FR") == "+33600012345"


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("0199", "FR"),
        ("5550123", "US"),
        ("0639981001", "FR"),
        ("ana", "FR"),
        ("3179", ""),
        ("", "FR"),
        ("1", "FR"),
    ],
)
def test_what_is_no_short_number(text: str, country: str) -> None:
    assert short_number(text, country) == ""


@pytest.mark.rule("INC-02")
@pytest.mark.parametrize(
    ("number", "labels"),
    [
        ("+33162000000", ("commercial",)),
        ("+33163999999", ("commercial",)),
        ("+33164000000", ()),
        ("+33948000000", ("commercial",)),
        ("+33639980001", ()),
        ("+590947500000", ("commercial",)),  # 09475: dialled like any number of France
        ("+262268800000", ("commercial",)),
        ("+262262000000", ()),
        ("+442079460000", ()),
        ("+", ()),
        ("", ()),
    ],
)
def test_ranges_kept_for_selling_are_labelled(number: str, labels: tuple[str, ...]) -> None:
    assert labels_of(number) == labels


def test_a_short_number_with_its_country() -> None:
    assert local_number("3179", "FR") == "3179;phone-context=+33"
    assert local_number("115", "RE") == "115;phone-context=+262"


@given(st.one_of(st.text(max_size=20), st.from_regex(r"\+?[0-9]{0,16}", fullmatch=True)), st.text(max_size=3))
@example("+", "")
@example("", "")
@example("+1", "US")
@example("000000", "XX")
@example("٣١٧٩", "FR")
def test_classify_never_raises(text: str, country: str) -> None:
    found = classify(text, country)
    assert isinstance(found, NumberClass)
    assert not text.startswith("+") or found not in SHORT_CLASSES
    short = short_number(text, country)
    assert not short or classify(short, country) in SHORT_CLASSES
    assert emergency_number(text, (country, "FR")) == emergency_number(text, ("FR", country))


@given(st.from_regex(r"[0-9]{2,6}", fullmatch=True), st.sampled_from([plan.country for plan in PLANS.all()]))
def test_every_short_number_of_a_country_has_a_short_class(digits: str, country: str) -> None:
    assert classify(digits, country) in SHORT_CLASSES
