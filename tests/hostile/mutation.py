"""Messages that are well-formed enough to be read, with something nasty where a value belongs.

`tests.fuzz.invariant.mutate` breaks syntax anywhere, and most of what it makes is refused at once.  This one goes for what
lies behind the parser: it replaces, adds, drops and stretches header values, and leaves the frame alone.
"""

from __future__ import annotations

import random
from typing import Final

_NASTY: Final = (
    *(
        b"",
        b"\xff\xfe",
        b"<",
        b">",
        b'"',
        b"<sip:",
        b"<sip:a@b",
        b"sip:a@b>",
        b'"x <sip:a@b>',
        b"%00",
        b"=",
        b";;;",
    ),
    *(
        b"<sip:%0d%0aX-Evil:%201@b>",
        b"sip:+33%0d%0aX-Evil:1@x",
        b'"\\\x00" <sip:a@b>;tag=q',
        b"a,b,c,,,",
        b";tag=",
    ),
    *(
        b"99999999999999999999",
        b"4294967295",
        b"4294967296",
        b"-1",
        b"0",
        b"1",
        b"1 INVITE",
        b"1 2 INVITE",
        b"1 1 BYE",
    ),
    *(
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x0b\x0c",
        b"\x1c\x1d",
        b"x" * 4096,
        b"<sip:" + b"a" * 4000 + b"@b>",
        b"\xc3\xa9",
    ),
    *(
        b"<sip:a@[::1]>",
        b"<sip:a@[zz]>",
        b"<tel:+15550142>",
        b"<urn:x:y>",
        b"<sip:a@b:99999>",
        b"<sip:a@b;lr;lr>",
    ),
    *(
        b"<sip:a@192.0.2.77;transport=tcp>",
        b"<sips:a@b>",
        b"*",
        b"SIP/2.0",
        b"100rel",
        b"timer",
        b"replaces",
        b"Digest",
    ),
    *(
        b'Digest realm="cloudline.example", nonce="\\\x00"',
        b'Digest realm="", nonce="n", algorithm=MD5, qop="auth-int"',
    ),
    *(
        b"1800;refresher=uac",
        b"1800;refresher=zzz",
        b"30",
        b"1;refresher=uas",
        b"abc;to-tag=1;from-tag=2",
        b"abc",
    ),
    *(
        b"text/plain",
        b"multipart/mixed",
        b'multipart/mixed; boundary="x"',
        b"application/sdp",
        b"message/sipfrag",
    ),
    *(
        b"refer",
        b"terminated;reason=noresource",
        b"active",
        b'SIP;cause=200;text="x"',
        b"Q.850;cause=16",
        b"id",
        b"full",
    ),
)
_NAMES: Final = b"""
Contact From To Via Route Record-Route Call-ID CSeq Max-Forwards Require Supported Allow Accept Content-Type
Content-Length Content-Disposition Content-Encoding Session-Expires Min-SE RSeq RAck Replaces Refer-To Referred-By
Refer-Sub P-Asserted-Identity P-Preferred-Identity Remote-Party-ID Privacy Diversion History-Info Reason Subject
User-Agent Server Authorization Proxy-Authorization WWW-Authenticate Proxy-Authenticate Event Subscription-State
Retry-After Expires X-Cloudline-Call User-to-User Alert-Info Priority Accept-Language Info-Package P-Early-Media
MIME-Version Timestamp Warning Unsupported Proxy-Require In-Reply-To Geolocation Recv-Info Path Join Target-Dialog
Identity f t i m l c v k x s e o r b u a d j y n
""".split()
_FRAME: Final = (b"Contact", b"From", b"To", b"Route", b"Record-Route", b"Call-ID", b"CSeq")
_STATUSES: Final = (
    *(
        b"100",
        b"180",
        b"183",
        b"199",
        b"200",
        b"202",
        b"299",
        b"300",
        b"302",
        b"380",
        b"401",
        b"404",
        b"407",
        b"408",
    ),
    *(
        b"422",
        b"423",
        b"480",
        b"481",
        b"484",
        b"486",
        b"487",
        b"488",
        b"491",
        b"500",
        b"503",
        b"504",
        b"600",
        b"603",
        b"699",
    ),
)
_TARGETS: Final = (
    b"sip:a@b",
    b"sip:%0d%0a@b",
    b"tel:+1",
    b"sips:x",
    b"sip:" + b"z" * 3000 + b"@b",
    b"mailto:x",
)


def spoil(data: bytes, dice: random.Random) -> bytes:
    """The message with one to three values spoilt."""
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(dice.choice((1, 1, 2, 3))):
        _spoil_one(lines, dice)
    if dice.random() < 0.1:
        lines[0] = _spoil_start(lines[0], dice)
    if dice.random() < 0.1:
        body = dice.choice((*_NASTY, body * 3))
    return b"\r\n".join(lines) + end + body


def _spoil_one(lines: list[bytes], dice: random.Random) -> None:
    nasty = dice.choice(_NASTY)
    at = dice.randrange(1, len(lines)) if len(lines) > 1 else 0
    name, _, value = lines[at].partition(b":")
    match dice.randrange(6):
        case 0:
            lines.insert(at + 1, dice.choice(_NAMES) + b": " + nasty)
        case 1 if at:
            lines[at] = name + b": " + nasty
        case 2 if at:
            lines[at] += nasty
        case 3 if at > 1:
            del lines[at]
        case 4 if at:
            cut = dice.randrange(len(value) + 1)
            lines[at] = name + b":" + value[:cut] + nasty + value[cut:]
        case _:
            wanted = dice.choice(_FRAME)
            for index, line in enumerate(lines):
                if line.lower().startswith(wanted.lower() + b":"):
                    lines[index] = wanted + b": " + nasty


def _spoil_start(line: bytes, dice: random.Random) -> bytes:
    if line.startswith(b"SIP/2.0 "):
        return b"SIP/2.0 " + dice.choice(_STATUSES) + b" " + dice.choice(_NASTY)
    method, _, rest = line.partition(b" ")
    return method + b" " + dice.choice((*_TARGETS, rest.partition(b" ")[0])) + b" SIP/2.0"
