"""The RIO: its check characters, whose it is, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering.policy import COUNTRIES
from numbering.refusal import Fault, Refused
from numbering.rio import ALPHABET, check_characters, make_rio, national_number, read_rio

FRANCE = COUNTRIES.of("FR")
# operator, quality, reference, number at home -> check characters, worked out by hand and by machine
VECTORS = [
    ("04", "P", "000000", "0612345678", "LJJ"),
    ("02", "P", "123456", "0601020304", "E4A"),
    ("01", "E", "+0A1B2", "0756810374", "6JS"),
    ("01", "E", "0+A1B2", "0756810374", "6F2"),
    ("03", "P", "ABCDEF", "0700000000", "T6O"),
]


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(("operator", "quality", "reference", "national", "check"), VECTORS)
def test_check_characters(operator: str, quality: str, reference: str, national: str, check: str) -> None:
    assert check_characters(operator, quality, reference, national) == check
    e164 = "+33" + national[1:]
    written = f"{operator} {quality} {reference.lower()} {check.lower()}"
    rio = read_rio(written, e164)
    assert str(rio) == operator + quality + reference + check


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(
    "text",
    ["", "04P000000LJ", "04P000000LJJJ", "04P0000é0LJJ", "04P000000LJK", "04P000001LJJ", "05P000000LJJ"],
)
def test_what_is_no_rio_of_the_number(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_rio(text, "+33612345678")
    assert caught.value.fault is Fault.RIO


@pytest.mark.rule("NUM-10")
def test_a_rio_belongs_to_one_number() -> None:
    read_rio("04P000000LJJ", "+33612345678")
    with pytest.raises(Refused, match="does not belong to"):
        read_rio("04P000000LJJ", "+33612345679")


def test_the_third_character_tells_mobile_from_fixed() -> None:
    fixed = "0199001234"
    for quality in "FPZ":
        code = "01" + quality + "000000" + check_characters("01", quality, "000000", fixed)
        assert read_rio(code, "+33199001234").quality == quality
    for quality, e164, national in (("A", "+33199001234", fixed), ("F", "+33612345678", "0612345678")):
        code = "01" + quality + "000000" + check_characters("01", quality, "000000", national)
        with pytest.raises(Refused, match="third character"):
            read_rio(code, e164)


@given(
    reference=st.text(ALPHABET, min_size=6, max_size=6),
    line=st.integers(0, 9999),
    place=st.integers(0, 18),
    other=st.sampled_from(ALPHABET),
)
def test_every_single_typing_error_is_noticed(reference: str, line: int, place: int, other: str) -> None:
    national = f"063998{line:04d}"
    typed = list("ZZP" + reference + national)
    if typed[place] == other:
        return
    before = check_characters("ZZ", "P", reference, national)
    typed[place] = other
    text = "".join(typed)
    assert check_characters(text[:2], text[2], text[3:9], text[9:]) != before


@pytest.mark.rule("NUM-11")
def test_our_own_lines() -> None:
    made = make_rio("ZZ", "AB23CD", "+33639981001", enterprise=True, rules=FRANCE)
    assert read_rio(str(made), "+33639981001") == made
    assert str(made).startswith("ZZEAB23CD")
    assert make_rio("ZZ", "AB23CD", "+33199001234", enterprise=True, rules=FRANCE).quality == "F"
    # territories have country codes of their own and the same ten digits
    assert national_number("+262692001234") == "0692001234"
    for operator, number, rules in (
        ("", "+33639981001", FRANCE),
        ("ZZ", "+447700900123", COUNTRIES.of("GB")),
        ("ZZ", "+508412345", FRANCE),
        ("z!", "+33639981001", FRANCE),
    ):
        with pytest.raises(Refused) as caught:
            make_rio(operator, "AB23CD", number, enterprise=False, rules=rules)
        assert caught.value.fault is Fault.NO_RIO
    with pytest.raises(ValueError, match="6 characters"):
        make_rio("ZZ", "short", "+33639981001", enterprise=False, rules=FRANCE)
