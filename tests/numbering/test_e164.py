"""Reading numbers as people, phones and carriers write them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering.e164 import NumberError, NumberFault, country_code, country_of, is_fiction, read

READ = [
    # text, country, E.164
    ("+33639981001", "", "+33639981001"),
    ("+33 6 39 98 10 01", "", "+33639981001"),
    ("+33-6.39(98)10/01", "US", "+33639981001"),
    ("+33\u00a06\u202f39 98 10 01", "", "+33639981001"),
    ("+33 (0)6 39 98 10 01", "", "+33639981001"),
    ("0639981001", "FR", "+33639981001"),
    ("06 39 98 10 01", "FR", "+33639981001"),
    ("0033639981001", "FR", "+33639981001"),
    ("0033639981001", "", "+33639981001"),
    ("01133639981001", "US", "+33639981001"),
    ("0199001234", "FR", "+33199001234"),
    ("07700900123", "GB", "+447700900123"),
    ("00447700900123", "FR", "+447700900123"),
    ("2125550123", "US", "+12125550123"),
    ("12125550123", "US", "+12125550123"),
    ("+15550123", "", "+15550123"),
    ("+390612345678", "", "+390612345678"),
    ("0612345678", "IT", "+390612345678"),
    ("+262692123456", "", "+262692123456"),
    # From an overseas territory all of France is dialled with a 0, and each part keeps its country code.
    ("0692123456", "RE", "+262692123456"),
    ("0690123456", "RE", "+590690123456"),
    ("0639981001", "RE", "+33639981001"),
    ("0199001234", "GP", "+33199001234"),
    ("0639123456", "MQ", "+262639123456"),
    ("0508412345", "PM", "+508412345"),
    ("412345", "PM", "+508412345"),
    ("0033639981001", "RE", "+33639981001"),
    ("+80012345678", "", "+80012345678"),
]


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize(("text", "country", "e164"), READ)
def test_a_number_is_read_in_its_context(text: str, country: str, e164: str) -> None:
    assert read(text, country) == e164


REFUSED = [
    ("", "FR", NumberFault.EMPTY),
    ("  ", "FR", NumberFault.EMPTY),
    ("-", "FR", NumberFault.EMPTY),
    ("ana", "FR", NumberFault.NOT_A_NUMBER),
    ("+33abc", "", NumberFault.NOT_A_NUMBER),
    ("+", "", NumberFault.NOT_A_NUMBER),
    ("++33639981001", "", NumberFault.NOT_A_NUMBER),
    ("*31#0639981001", "FR", NumberFault.NOT_A_NUMBER),
    ("+٣٣639981001", "", NumberFault.NOT_A_NUMBER),
    ("0639981001", "", NumberFault.NO_COUNTRY),
    ("0639981001", "XX", NumberFault.UNKNOWN_COUNTRY_CODE),
    ("+999123456", "", NumberFault.UNKNOWN_COUNTRY_CODE),
    ("+0639981001", "", NumberFault.UNKNOWN_COUNTRY_CODE),
    ("+33", "", NumberFault.TOO_SHORT),
    ("+3", "", NumberFault.TOO_SHORT),
    ("112", "FR", NumberFault.TOO_SHORT),
    ("00", "", NumberFault.TOO_SHORT),
    ("06399810", "FR", NumberFault.TOO_SHORT),
    ("+336399810", "", NumberFault.TOO_SHORT),
    ("+3363998100112", "", NumberFault.TOO_LONG),
    ("+447700", "", NumberFault.TOO_SHORT),
    ("+352123", "", NumberFault.TOO_SHORT),
    ("1" * 65, "FR", NumberFault.TOO_LONG),
    ("+1555012", "", NumberFault.TOO_SHORT),
]


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize(("text", "country", "fault"), REFUSED)
def test_what_cannot_be_read_says_why(text: str, country: str, fault: NumberFault) -> None:
    result = read(text, country)
    assert isinstance(result, NumberError)
    assert result.fault is fault
    assert str(result).startswith(repr(text[:64]))


def test_a_length_that_no_number_of_the_country_has() -> None:
    # Numbers of Singapore have 8, 10 or 11 digits after the country code.
    assert read("+6512345678") == "+6512345678"
    result = read("+65123456789")
    assert isinstance(result, NumberError)
    assert result.fault is NumberFault.WRONG_LENGTH


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize(
    "number",
    [
        "+33639980001",
        "+33199001234",
        "+33261910000",
        "+33353010000",
        "+33465710000",
        "+33536490000",
        "+447700900123",
        "+442079460123",
        "+15550123",
        "+12125550123",
    ],
)
def test_numbers_of_fiction_are_legal_everywhere(number: str) -> None:
    assert is_fiction(number)
    assert read(number) == number


def test_the_library_alone_would_refuse_fiction() -> None:
    """The reason for our own table; when this fails the table may be judged anew."""
    for number in ("+33639980001", "+447700900123", "+15550123"):
        assert not phonenumbers.is_valid_number(phonenumbers.parse(number))


@pytest.mark.parametrize(
    "number", ["+33639970001", "+447700800123", "+12125550223", "+1555012", "+336399800012"]
)
def test_what_is_not_fiction(number: str) -> None:
    assert not is_fiction(number)


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+33639981001", "FR"),
        ("+12125550123", "US"),
        ("+15550123", "US"),
        ("+16135550123", "CA"),
        ("+17875550123", "PR"),
        ("+447700900123", "GB"),
        ("+447911123456", "GG"),
        ("+262692123456", "RE"),
        ("+590690123456", "GP"),
        ("+3212345678", "BE"),
        ("+80012345678", ""),
        ("+999", ""),
        ("", ""),
        ("anonymous", ""),
    ],
)
def test_the_country_of_a_number(number: str, country: str) -> None:
    assert country_of(number) == country


def test_country_codes() -> None:
    assert [country_code(text) for text in ("+33639981001", "+12125550123", "+35212345", "+0", "+", "")] == [
        "33",
        "1",
        "352",
        "",
        "",
        "",
    ]


@given(st.text(max_size=80), st.sampled_from(["", "FR", "US", "IT", "XX"]))
def test_reading_never_raises_and_gives_e164(text: str, country: str) -> None:
    result = read(text, country)
    if not isinstance(result, NumberError):
        assert result[0] == "+"
        assert result[1:].isascii()
        assert result[1:].isdigit()
        assert len(result) <= 16
        assert read(result) == result


@given(st.from_regex(r"\+?[0-9]{1,18}", fullmatch=True), st.sampled_from(["", "FR", "US", "IT", "GB", "BR"]))
def test_what_was_read_once_reads_the_same(text: str, country: str) -> None:
    result = read(text, country)
    if not isinstance(result, NumberError):
        assert read(result) == result
        assert read(result, country) == result


@given(st.integers(0, 10**9 - 1), st.sampled_from(["+33", "0033", "0"]))
def test_spellings_of_a_french_number_agree(national: int, prefix: str) -> None:
    digits = f"{national:09d}"
    if digits[0] == "0":
        return
    found = read(prefix + digits, "FR")
    assert found == read("+33" + digits), (
        "overseas numbers have country codes of their own, however they are spelt"
    )
    assert isinstance(found, str)
    assert found.endswith(digits)
