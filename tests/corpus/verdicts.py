"""What becomes of each torture message, and which layer says so: RFC 4475 §3 and RFC 5118 §4, all of them.

`VERDICTS` is read by the parser's tests here and by the endpoint's tests: one table, so that no layer can
believe that another one objects.

The files hold what goes on the wire. Those of ``rfc4475/`` are byte for byte the members of the archive in
that RFC's appendix; its ``test.dat``, which no section mentions, is left out. The archive of RFC 5118 has
bare LF as line end, two members without the empty line, and three whose Content-Length fits no counting of
the body; its files are put into wire form here: CRLF, the empty line, the length of the body. Not one octet
of an address was touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

CORPUS = Path(__file__).resolve().parent

Layer = Literal["parser", "screening", "transaction", "user", ""]


class Verdict(NamedTuple):
    """One message and its fate."""

    name: str
    """``rfc4475/wsinv``: the file without its suffix."""
    section: str
    """Section of that RFC."""
    about: str
    layer: Layer
    """Who objects first: "parser" (`message.parse`), "screening" (`screening.screen`), "transaction" (the
    endpoint), "user" (registrar or call), "" for nobody: the message is served."""
    status: int
    """The status with which that layer objects, 0 where nobody does or where it is dropped without one."""
    answered: bool = True
    """False where no answer goes out although somebody objects: a response, or nothing to answer to."""

    @property
    def data(self) -> bytes:
        """The message as it goes on the wire."""
        return (CORPUS / f"{self.name}.dat").read_bytes()


VERDICTS: tuple[Verdict, ...] = (
    # RFC 4475 §3.1.1, valid messages
    Verdict("rfc4475/wsinv", "3.1.1.1", "folding, compact forms, odd case, white space everywhere", "", 0),
    Verdict("rfc4475/intmeth", "3.1.1.2", "wide range of characters; an unknown method", "screening", 501),
    Verdict("rfc4475/esc01", "3.1.1.3", "escapes in URIs; the Request-URI is not a sips URI", "", 0),
    Verdict("rfc4475/escnull", "3.1.1.4", "escaped NUL in URIs", "", 0),
    Verdict("rfc4475/esc02", "3.1.1.5", "% that is no escape: an unknown method", "screening", 501),
    Verdict("rfc4475/lwsdisp", "3.1.1.6", "no white space between display name and <", "", 0),
    Verdict("rfc4475/longreq", "3.1.1.7", "long values, 34 Vias in 17 spellings", "", 0),
    Verdict(
        "rfc4475/dblreq", "3.1.1.8", "a second request behind the first in one datagram is not read", "", 0
    ),
    Verdict("rfc4475/semiuri", "3.1.1.9", "semicolon parameters in the user part", "", 0),
    Verdict("rfc4475/transports", "3.1.1.10", "varied and unknown transports in Via", "", 0),
    Verdict("rfc4475/mpart01", "3.1.1.11", "multipart MIME with a binary part", "", 0),
    Verdict("rfc4475/unreason", "3.1.1.12", "reason phrase in Cyrillic letters", "", 0),
    Verdict("rfc4475/noreason", "3.1.1.13", "empty reason phrase", "", 0),
    # RFC 4475 §3.1.2, invalid messages
    Verdict("rfc4475/badinv01", "3.1.2.1", "separators without parameters in Via and Contact", "parser", 400),
    Verdict("rfc4475/clerr", "3.1.2.2", "Content-Length larger than the datagram", "parser", 400),
    Verdict("rfc4475/ncl", "3.1.2.3", "negative Content-Length", "parser", 400),
    Verdict("rfc4475/scalar02", "3.1.2.4", "CSeq, Max-Forwards, Expires out of range", "parser", 400),
    Verdict("rfc4475/scalarlg", "3.1.2.5", "a response with CSeq out of range", "parser", 400, False),
    Verdict("rfc4475/quotbal", "3.1.2.6", "unclosed quote in To", "parser", 400),
    Verdict("rfc4475/ltgtruri", "3.1.2.7", "angle brackets around the Request-URI", "parser", 400),
    Verdict("rfc4475/lwsruri", "3.1.2.8", "white space inside the Request-URI", "parser", 400),
    Verdict("rfc4475/lwsstart", "3.1.2.9", "several spaces in the request line", "parser", 400),
    Verdict("rfc4475/trws", "3.1.2.10", "spaces at the end of the request line", "parser", 400),
    Verdict("rfc4475/escruri", "3.1.2.11", "headers in the Request-URI", "parser", 400),
    Verdict("rfc4475/baddate", "3.1.2.12", "Date not in GMT: informational only, passed over", "", 0),
    Verdict("rfc4475/regbadct", "3.1.2.13", "Contact with ? and without angle brackets", "user", 400),
    Verdict("rfc4475/badaspec", "3.1.2.14", "spaces inside the angle brackets of To", "parser", 400),
    Verdict(
        "rfc4475/baddn", "3.1.2.15", "comma in an unquoted display name; no end of headers", "parser", 400
    ),
    Verdict("rfc4475/badvers", "3.1.2.16", "SIP/7.0", "parser", 505),
    Verdict("rfc4475/mismatch01", "3.1.2.17", "CSeq method is not the request's", "parser", 400),
    Verdict("rfc4475/mismatch02", "3.1.2.18", "unknown method, CSeq method is not it", "parser", 400),
    Verdict("rfc4475/bigcode", "3.1.2.19", "a response with status 4294967301", "parser", 400, False),
    # RFC 4475 §3.2, transaction layer
    Verdict(
        "rfc4475/badbranch", "3.2.1", "branch that is only the magic cookie: matched as RFC 2543 does", "", 0
    ),
    # RFC 4475 §3.3, application layer
    Verdict("rfc4475/insuf", "3.3.1", "no From, To, Call-ID: nothing to answer to", "parser", 400, False),
    Verdict("rfc4475/unkscm", "3.3.2", "unknown scheme in the Request-URI", "screening", 416),
    Verdict("rfc4475/novelsc", "3.3.3", "known scheme that is not ours in the Request-URI", "screening", 416),
    Verdict("rfc4475/unksm2", "3.3.4", "REGISTER of an isbn: URI, which is not in our domain", "user", 404),
    Verdict("rfc4475/bext01", "3.3.5", "Require with unknown option tags", "screening", 420),
    Verdict("rfc4475/invut", "3.3.6", "unknown body type in an INVITE", "screening", 415),
    Verdict("rfc4475/regaut01", "3.3.7", "unknown authentication scheme: challenged like none", "user", 401),
    Verdict("rfc4475/multi01", "3.3.8", "several From, To, Call-ID, CSeq, Max-Forwards", "parser", 400),
    Verdict("rfc4475/mcl01", "3.3.9", "two Content-Lengths", "parser", 400),
    Verdict("rfc4475/bcast", "3.3.10", "200 whose Vias are not ours", "transaction", 0, False),
    Verdict("rfc4475/zeromf", "3.3.11", "Max-Forwards 0: served, because it goes no further", "", 0),
    Verdict("rfc4475/cparam01", "3.3.12", "REGISTER, Contact with a header parameter of unknown name", "", 0),
    Verdict("rfc4475/cparam02", "3.3.13", "REGISTER, Contact with a URI parameter of unknown name", "", 0),
    Verdict("rfc4475/regescrt", "3.3.14", "REGISTER, Contact URI with an escaped Route", "user", 400),
    Verdict("rfc4475/sdp01", "3.3.15", "INVITE that does not accept SDP in the answer", "user", 406),
    # RFC 4475 §3.4
    Verdict(
        "rfc4475/inv2543", "3.4.1", "INVITE of RFC 2543: no branch, no From tag, no Contact", "user", 400
    ),
    # RFC 5118 §4
    Verdict("rfc5118/ipv6-good", "4.1", "IPv6 in Request-URI, Via, Contact", "", 0),
    Verdict("rfc5118/ipv6-bad", "4.2", "IPv6 without brackets in the Request-URI", "parser", 400),
    Verdict("rfc5118/port-ambiguous", "4.3", "[2001:db8::10:5070] is an address, not a port", "", 0),
    Verdict("rfc5118/port-unambiguous", "4.4", "[2001:db8::10]:5070 has a port", "", 0),
    Verdict("rfc5118/via-received-param-with-delim", "4.5", "received=[...]", "", 0),
    Verdict("rfc5118/via-received-param-no-delim", "4.5", "received= without brackets", "", 0),
    Verdict("rfc5118/ipv6-in-sdp", "4.6", "IPv6 without brackets in SDP", "", 0),
    Verdict("rfc5118/mult-ip-in-header", "4.7", "IPv4 and IPv6 in one Via set", "", 0),
    Verdict("rfc5118/mult-ip-in-sdp", "4.8", "IPv4 and IPv6 in one SDP", "", 0),
    Verdict("rfc5118/ipv4-mapped-ipv6", "4.9", "IPv4-mapped IPv6 addresses", "", 0),
    Verdict(
        "rfc5118/ipv6-bug-abnf-3-colons", "4.10", "three colons, which RFC 3261's grammar made legal", "", 0
    ),
    Verdict(
        "rfc5118/ipv6-correct-abnf-2-colons", "4.10", "two colons before an embedded IPv4 address", "", 0
    ),
)

BY_NAME: dict[str, Verdict] = {verdict.name.partition("/")[2]: verdict for verdict in VERDICTS}
