"""Lexical rules of SIP as regular expressions, each under the production it stands for (RFC 3261 §25.1).

All patterns are linear: repetitions are possessive or end on a character that the repeated class excludes.
Text is the message decoded as UTF-8 with ``surrogateescape``, so a byte that is not UTF-8 is one lone
surrogate and leaves as the byte it was.

Knowingly wider than the ABNF: host names may hold underscores (common in private DNS and container names),
and the user part of a URI may hold any visible character but ``<>"`` and ``@`` (devices leave ``#``
unescaped, and RFC 4475 §3.1.1.2 shows how far legal ones go).
"""

from __future__ import annotations

import re
from typing import Final

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN_CHARS: Final = r"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = re.compile(rf"[{TOKEN_CHARS}]++")

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE; quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F)
# CR and LF never reach us: lines are split and unfolded before.
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)

# 1*DIGIT, ASCII only (str.isdigit would take other scripts' digits)
DIGITS: Final = re.compile(r"[0-9]++")

# SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT, matched case-insensitively (RFC 3261 §7.1)
VERSION: Final = re.compile(r"[Ss][Ii][Pp]/[0-9]++\.[0-9]++")

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*+")

# host = hostname / IPv4address / IPv6reference
HOST: Final = re.compile(r"[A-Za-z0-9\-._]++|\[[0-9A-Fa-f:.]++\]")

# Request-URI or any absoluteURI inside <>: scheme ":" and no white space, brackets or quotes
ABSOLUTE_URI: Final = re.compile(r'[A-Za-z][A-Za-z0-9+\-.]*+:[^\x00-\x20<>"\x7f]++')

# The usual spellings of From and To: name-addr with no parameter but the tag. Group 1 is the tag.
# A display name is a quoted string without escapes, or tokens.
PLAIN_ADDRESS: Final = re.compile(
    rf'(?:"[^"\\]*+"[ \t]*+|[{TOKEN_CHARS} \t]*+)'
    r'<[A-Za-z][A-Za-z0-9+\-.]*+:[^\x00-\x20<>"\x7f]++>'
    rf"(?:;tag=([{TOKEN_CHARS}]++))?"
)

# The usual spelling of one Via value with one branch; groups: transport, sent-by, branch.
# via-parm = sent-protocol LWS sent-by *( SEMI via-params )
_VIA_PARAM: Final = r";(?!(?i:branch))[A-Za-z0-9\-._+]++(?:=[A-Za-z0-9\-.!%*_+`'~:\[\]]++)?"
PLAIN_VIA: Final = re.compile(
    rf"SIP/2\.0/([A-Za-z]++) ([A-Za-z0-9\-._]++(?::[1-5]?[0-9]{{1,4}})?)"
    rf"(?:{_VIA_PARAM})*;branch=([{TOKEN_CHARS}]++)(?:{_VIA_PARAM})*"
)

# CSeq = 1*DIGIT LWS Method
CSEQ: Final = re.compile(rf"([0-9]++)[ \t]++([{TOKEN_CHARS}]++)")


def is_token(text: str) -> bool:
    """True when the text is one ``token`` (RFC 3261 §25.1)."""
    return TOKEN.fullmatch(text) is not None
