"""The torture messages of RFC 4475 and RFC 5118 against the parser; other layers' verdicts are theirs to prove."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from callcontrol.sip.build import response
from callcontrol.sip.digest import parse_credentials
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr, parse_params, parse_seconds, parse_via
from callcontrol.sip.message import Message, parse
from callcontrol.sip.uri import parse_uri
from tests.corpus.verdicts import BY_NAME, CORPUS, VERDICTS, Verdict

PARSED = [verdict for verdict in VERDICTS if verdict.layer != "parser"]
REFUSED = [verdict for verdict in VERDICTS if verdict.layer == "parser"]


def name(verdict: Verdict) -> str:
    return verdict.name


def message(name: str) -> Message:
    return parse(BY_NAME[name].data)


def test_every_file_has_one_verdict() -> None:
    files = {f"{path.parent.name}/{path.stem}" for path in CORPUS.glob("rfc*/*.dat")}
    assert files == {verdict.name for verdict in VERDICTS}
    assert len(files) == len(VERDICTS) == 49 + 12


# SHA-256 of the archive's members, for those of §3.1.1, where single octets are the point.
DIGESTS = {
    "wsinv": "d6f6cdee99cd0a1f8e3d9a0fdd67c877700e19ab86d8186dada06f61260e3e61",
    "intmeth": "b957a8292c1c0a9851fe94705b90f94320738f43aacde64998e401f742ef688d",
    "esc01": "be3a316d4ce5f69cad474646191e390dd4b50fc8371e44b5197fe1237781973e",
    "escnull": "263fe2ecd12a5ccbb6c67b3174e9211d11da9b600e7d69666a86d2ee42873e90",
    "esc02": "9a9c59449f00327b02071feafc8e5c2a261c98c818044167894cc17809a12199",
    "lwsdisp": "d1b36b6316c12824f6f04bf6b1fd1f021cade9b74871693b9c3474cd9fa7f4e6",
    "longreq": "185739292bc676760e5b1cca77c87705aa570240171c506ad76f8c35af0ecdaa",
    "dblreq": "a6be48426565c2a705389c4ce2ea17e57b891cb13f80490a2cb9392c797b46ef",
    "semiuri": "87bbaed6b4b354dbd3c5c7a20e66686303c63e43a0aa19b89de1ac75231611a2",
    "transports": "33b4553a3b9418121b099ff07882535151edd6a1e81898c63a916aad2cbf90bc",
    "mpart01": "92147c8e24997bac59629e1b163767697d0d6d499af87f89e325d69968bec3ba",
    "unreason": "4f939d6ebf4817eea70f011d3209e83732872ffc20ffd304b244084dc392f4d7",
    "noreason": "07e11e470a69fffa3674de805e5165d1351a9439a91045ee70c9570ea24ab4fe",
}


@pytest.mark.parametrize("file", DIGESTS)
def test_checkout_did_not_change_the_files(file: str) -> None:
    assert hashlib.sha256(BY_NAME[file].data).hexdigest() == DIGESTS[file]


@pytest.mark.parametrize("verdict", REFUSED, ids=name)
def test_parser_refuses(verdict: Verdict) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(verdict.data)
    assert caught.value.status == verdict.status
    assert caught.value.reason
    rest = caught.value.message
    assert (rest is not None and rest.is_request) == verdict.answered
    if rest is not None and verdict.answered:
        # The refusal that goes out can itself be read, whatever it had to copy.
        answer = response(rest, caught.value.status, to_tag="a1").decode("utf-8", "surrogateescape")
        assert answer.startswith(f"SIP/2.0 {verdict.status} ")
        assert answer.count("\r\n\r\n") == 1


@pytest.mark.parametrize("verdict", PARSED, ids=name)
def test_parser_accepts_and_keeps_every_line(verdict: Verdict) -> None:
    read = parse(verdict.data)
    head, _, rest = verdict.data.partition(b"\r\n\r\n")
    start_line, _, lines = head.partition(b"\r\n")
    raw = "\r\n".join([header[2] for header in read.headers])
    assert raw.encode("utf-8", "surrogateescape") == lines
    assert rest.startswith(read.body)
    if read.is_request:
        assert start_line == f"{read.method} {read.uri} SIP/2.0".encode()
        again = parse(response(read, 200, to_tag="a1"))
        assert (again.branch, again.call_id, again.cseq, again.from_tag) == (
            *(read.branch, read.call_id, read.cseq, read.from_tag),
        )
        assert again.to_tag == (read.to_tag or "a1")


def check_wsinv(m: Message) -> None:
    assert (m.from_tag, m.to_tag) == ("98asjd8", "1918181833n")
    assert parse_name_addr(m.from_value).display == 'J Rosenberg \\"'
    assert (m.max_forwards, m.cseq, m.cseq_method) == (68, 9, "INVITE")
    assert (m.branch, m.sent_by, m.via_transport) == ("390skdjuw", "192.0.2.2", "UDP")
    assert [parse_via(via).branch for via in m.items("via")] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert (m.has("subject"), m.get("subject")) == (True, "")
    assert m.get("newfangledheader") == "newfangled value continued newfangled value"
    assert m.get("unknownheaderwithunusualvalue") == ";;,,;;,;"
    contact = parse_name_addr(m.items("contact")[0])
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    route = parse_uri(parse_name_addr(m.items("route")[0]).uri)
    assert route.params == {"lr": None, "unknownwith": "value", "unknown-no-value": None}
    assert parse_uri(m.uri).params == {"unknownparam": None}
    assert len(m.body) == 150


def check_intmeth(m: Message) -> None:
    assert m.method == m.cseq_method == "!interesting-Method0123456789_*+`.%indeed'~"
    uri = parse_uri(m.uri)
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert (uri.host, uri.headers) == ("example.com", "")
    assert m.branch == "z9hG4bK-.!%66*_+`'~"
    assert parse_name_addr(m.to_value).display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    sender = parse_name_addr(m.from_value)
    assert sender.display == "token1~` token2'+_ token3*%!.-"
    assert sender.params["fromparam''~+*_!.-%"] == "работающий"
    assert m.from_tag == "_token~1'+`*%!-."
    assert m.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert m.get("extensionheader-!.%*+_`'~") == "\ufeff大停電"


def check_esc01(m: Message) -> None:
    uri = parse_uri(m.uri)
    assert (uri.scheme, uri.user, uri.host) == ("sip", "sips:user@example.com", "example.net")
    assert parse_uri(parse_name_addr(m.to_value).uri).user == "user"
    assert parse_uri(parse_name_addr(m.from_value).uri).user == "I have spaces"
    contact = parse_uri(parse_name_addr(m.items("contact")[0]).uri)
    assert contact.user == "caller"
    assert contact.params == {"%6c%72": None, "n%61me": "v%61lue%25%34%31"}


def check_escnull(m: Message) -> None:
    assert parse_uri(parse_name_addr(m.to_value).uri).user == "null-\0-null"
    users = [parse_uri(parse_name_addr(contact).uri).user for contact in m.items("contact")]
    assert users == ["\0", "\0\0"]


def check_esc02(m: Message) -> None:
    assert m.method == "RE%47IST%45R"
    assert parse_name_addr(m.to_value).display == "%Z%45"
    assert m.branch == "z9hG4bK209%fzsnel234"
    assert len(m.items("contact")) == 2
    assert m.get("c%6fntact") == "<sip:alias2@host2.example.com>"


def check_lwsdisp(m: Message) -> None:
    assert parse_name_addr(m.from_value).display == "caller"
    assert m.from_tag == "323"


def check_longreq(m: Message) -> None:
    assert len(m.items("via")) == 34
    assert parse_via(m.items("via")[-1]).branch == "very" + "long" * 50 + "branchvalue"
    assert m.from_tag == "12" + "982" * 50 + "424"
    assert (m.sent_by, m.branch) == ("sip33.example.com", "")
    assert parse_uri(parse_name_addr(m.to_value).uri).port == 6000


def check_dblreq(m: Message) -> None:
    assert (m.method, m.body) == ("REGISTER", b"")
    assert b"INVITE sip:joe@example.com" in m.data


def check_semiuri(m: Message) -> None:
    uri = parse_uri(m.uri)
    assert (uri.user, uri.host, uri.params) == ("user;par=u@example.net", "example.com", {})
    assert m.items("accept")[2:] == [
        *("multipart/mixed", "multipart/signed", "message/sip", "message/sipfrag"),
    ]


def check_transports(m: Message) -> None:
    transports = [parse_via(via).transport for via in m.items("via")]
    assert transports == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def check_mpart01(m: Message) -> None:
    assert m.content_type == "multipart/mixed"
    assert parse_params((m.get("content-type") or "").partition(";")[2]) == {"boundary": "7a9cbec02ceef655"}
    assert len(m.body) == 553
    assert m.body.count(b"--7a9cbec02ceef655") == 3


def check_unreason(m: Message) -> None:
    assert m.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"
    assert (m.status, m.method) == (200, "INVITE")


def check_noreason(m: Message) -> None:
    assert (m.status, m.reason) == (100, "")


def check_baddate(m: Message) -> None:
    assert m.get("date") == "Fri, 01 Jan 2010 16:00:00 EST"


def check_regbadct(m: Message) -> None:
    with pytest.raises(RemoteProtocolError, match="angle brackets"):
        parse_name_addr(m.items("contact")[0])


def check_badbranch(m: Message) -> None:
    assert m.branch == "z9hG4bK"


def check_unkscm(m: Message) -> None:
    uri = parse_uri(m.uri)
    assert (uri.scheme, uri.rest) == ("nobodyknowsthisscheme", "totallyopaquecontent")


def check_novelsc(m: Message) -> None:
    uri = parse_uri(m.uri)
    assert (uri.scheme, uri.rest) == ("soap.beep", "//192.0.2.103:3002")


def check_unksm2(m: Message) -> None:
    assert str(parse_uri(parse_name_addr(m.to_value).uri)) == "isbn:2983792873"
    assert parse_name_addr(m.items("contact")[0]).uri == "name:John_Smith"


def check_bext01(m: Message) -> None:
    assert m.tokens("require") == ["nothingsupportsthis", "nothingsupportsthiseither"]
    assert m.items("proxy-require") == ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]


def check_invut(m: Message) -> None:
    assert m.content_type == "application/unknownformat"
    assert m.body == b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n'


def check_regaut01(m: Message) -> None:
    assert parse_credentials(m.get("authorization") or "").scheme == "nooneknowsthisscheme"


def check_bcast(m: Message) -> None:
    assert [parse_via(via).host for via in m.items("via")] == ["192.0.2.198", "255.255.255.255"]


def check_zeromf(m: Message) -> None:
    assert m.max_forwards == 0


def check_cparam01(m: Message) -> None:
    contact = parse_name_addr(m.items("contact")[0])
    assert contact.params == {"unknownparam": None}
    assert parse_uri(contact.uri).params == {}


def check_cparam02(m: Message) -> None:
    contact = parse_name_addr(m.items("contact")[0])
    assert contact.params == {}
    assert parse_uri(contact.uri).params == {"unknownparam": None}


def check_regescrt(m: Message) -> None:
    assert parse_uri(parse_name_addr(m.items("contact")[0]).uri).headers == "Route=%3Csip:sip.example.com%3E"


def check_sdp01(m: Message) -> None:
    assert (m.items("accept"), m.content_type) == (["text/nobodyKnowsThis"], "application/sdp")


def check_inv2543(m: Message) -> None:
    assert (m.branch, m.from_tag, m.max_forwards) == ("", "", -1)
    assert parse_name_addr(m.to_value).params == {"user": "phone"}
    assert m.body.startswith(b"v=0\r\n")


def check_ipv6_good(m: Message) -> None:
    assert (parse_uri(m.uri).host, parse_uri(m.uri).port) == ("2001:db8::10", None)
    via = parse_via(m.top_via)
    assert (via.host, via.port, m.sent_by) == ("2001:db8::9:1", None, "[2001:db8::9:1]")
    assert parse_uri(parse_name_addr(m.items("contact")[0]).uri).host_bracketed == "[2001:db8::1]"


def check_port_ambiguous(m: Message) -> None:
    assert (parse_uri(m.uri).host, parse_uri(m.uri).port) == ("2001:db8::10:5070", None)


def check_port_unambiguous(m: Message) -> None:
    assert (parse_uri(m.uri).host, parse_uri(m.uri).port) == ("2001:db8::10", 5070)


def check_received_with_brackets(m: Message) -> None:
    assert parse_via(m.top_via).params["received"] == "[2001:db8::9:255]"
    assert m.branch == "z9hG4bKas3-111"


def check_received_without_brackets(m: Message) -> None:
    assert parse_via(m.top_via).params["received"] == "2001:db8::9:255"
    assert m.branch == "z9hG4bKas3"


def check_mult_ip_in_header(m: Message) -> None:
    assert [parse_via(via).sent_by for via in m.items("via")] == [
        *("[2001:db8::9:1]:6050", "192.0.2.1", "[2001:db8::9:255]"),
    ]


def check_ipv4_mapped_ipv6(m: Message) -> None:
    assert m.sent_by == "[::ffff:192.0.2.10]:19823"
    assert parse_uri(parse_name_addr(m.items("contact")[0]).uri).host == "::ffff:192.0.2.2"


def check_ipv6_colons(m: Message) -> None:
    assert parse_uri(m.uri).host == "2001:db8::192.0.2.1"


CHECKS: dict[str, Callable[[Message], None]] = {
    "wsinv": check_wsinv,
    "intmeth": check_intmeth,
    "esc01": check_esc01,
    "escnull": check_escnull,
    "esc02": check_esc02,
    "lwsdisp": check_lwsdisp,
    "longreq": check_longreq,
    "dblreq": check_dblreq,
    "semiuri": check_semiuri,
    "transports": check_transports,
    "mpart01": check_mpart01,
    "unreason": check_unreason,
    "noreason": check_noreason,
    "baddate": check_baddate,
    "regbadct": check_regbadct,
    "badbranch": check_badbranch,
    "unkscm": check_unkscm,
    "novelsc": check_novelsc,
    "unksm2": check_unksm2,
    "bext01": check_bext01,
    "invut": check_invut,
    "regaut01": check_regaut01,
    "bcast": check_bcast,
    "zeromf": check_zeromf,
    "cparam01": check_cparam01,
    "cparam02": check_cparam02,
    "regescrt": check_regescrt,
    "sdp01": check_sdp01,
    "inv2543": check_inv2543,
    "ipv6-good": check_ipv6_good,
    "port-ambiguous": check_port_ambiguous,
    "port-unambiguous": check_port_unambiguous,
    "via-received-param-with-delim": check_received_with_brackets,
    "via-received-param-no-delim": check_received_without_brackets,
    "mult-ip-in-header": check_mult_ip_in_header,
    "ipv4-mapped-ipv6": check_ipv4_mapped_ipv6,
    "ipv6-bug-abnf-3-colons": check_ipv6_colons,
    "ipv6-correct-abnf-2-colons": check_ipv6_colons,
}


@pytest.mark.parametrize("file", CHECKS)
def test_what_the_message_is_about(file: str) -> None:
    CHECKS[file](message(file))


def test_every_accepted_message_is_looked_into() -> None:
    looked_into = {*CHECKS, "ipv6-in-sdp", "mult-ip-in-sdp"}
    assert looked_into == {verdict.name.partition("/")[2] for verdict in PARSED}


@pytest.mark.parametrize(("file", "lines"), [("ipv6-in-sdp", 9), ("mult-ip-in-sdp", 9)])
def test_sdp_crosses_untouched(file: str, lines: int) -> None:
    body = message(file).body
    assert BY_NAME[file].data.endswith(b"\r\n\r\n" + body)
    assert body.count(b"\r\n") == lines


def test_scalars_out_of_range_one_by_one() -> None:
    """§3.1.2.4: the CSeq hides the other two; a huge Expires is cut off, a Max-Forwards of 300 refused."""
    data = BY_NAME["scalar02"].data.replace(b"36893488147419103232", b"1")
    with pytest.raises(RemoteProtocolError, match="Max-Forwards"):
        parse(data)
    read = parse(data.replace(b"Max-Forwards: 300", b"Max-Forwards: 255"))
    assert parse_seconds(read.get("expires") or "") == 0xFFFFFFFF
    assert parse_name_addr(read.items("contact")[0]).params == {"expires": "280297596632815"}


def test_display_name_with_comma_is_the_defect_that_remains() -> None:
    """§3.1.2.15: the archive's file also lacks the empty line; with it, the display name is what is wrong."""
    with pytest.raises(RemoteProtocolError, match="From: display name must be quoted"):
        parse(BY_NAME["baddn"].data + b"\r\n")
