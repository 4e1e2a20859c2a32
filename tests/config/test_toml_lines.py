"""Lines of TOML keys, also around everything that could hide or fake a key."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.toml_lines import Path, line_index

TRICKY = '''\
# [comment]
top = 1
"quoted key" = "a # b [c]"

[table]
text = """
[not.a.header]
key = "no key"
\\"""  still
"""
literal = \'\'\'
[[nor this]]
\'\'\'
array = [
  "one", # with ] and [
  { inner = "[x]" },
  [ 1, 2 ],
]
after = true
inline = { a = 1, b = { c = "}" } }
dotted.key."with dot.s" = 1

[[list]]
name = "first"
[list.sub]
x = 1
[[list.deep]]
y = 1
[[list.deep]]
y = 2
[[list]]
name = "second"
[list.sub]
x = 2
[a . "b.c" . d]
e = \'\\\'
'''


def test_lines_of_a_tricky_document() -> None:
    tomllib.loads(TRICKY)
    lines = line_index(TRICKY)
    expected: dict[Path, int] = {
        ("top",): 2,
        ("quoted key",): 3,
        ("table",): 5,
        ("table", "text"): 6,
        ("table", "literal"): 11,
        ("table", "array"): 14,
        ("table", "array", 1, "inner"): 14,
        ("table", "after"): 19,
        ("table", "inline"): 20,
        ("table", "inline", "b", "c"): 20,
        ("table", "dotted", "key", "with dot.s"): 21,
        ("list",): 23,
        ("list", 0): 23,
        ("list", 0, "name"): 24,
        ("list", 0, "sub", "x"): 26,
        ("list", 0, "deep", 0, "y"): 28,
        ("list", 0, "deep", 1): 29,
        ("list", 0, "deep", 1, "y"): 30,
        ("list", 1): 31,
        ("list", 1, "name"): 32,
        ("list", 1, "sub"): 33,
        ("list", 1, "sub", "x"): 34,
        ("a", "b.c", "d", "e"): 36,
        ("nothing",): 1,
        ("list", 1, "nothing"): 31,
    }
    assert {path: lines.of(path) for path in expected} == expected


SMALL = ["", "\n\n", "# only", "a=1", "a = 'x' # c", "[t]", '"\\u00e9\\t" = 1', "a = 1\r\nb = 2\r\n"]


@pytest.mark.parametrize("text", SMALL)
def test_small_documents(text: str) -> None:
    values = tomllib.loads(text)
    lines = line_index(text)
    for index, key in enumerate(values, 1):
        assert lines.of((key,)) == index


def test_escapes_in_keys() -> None:
    text = '\n"\\u00e9\\U0001F600\\t\\"" = 1\n'
    (key,) = tomllib.loads(text)
    assert line_index(text).of((key,)) == 2


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=["Cc", "Cs"]), max_size=12
)


def literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[\n" + "".join(f"  {literal(item)},\n" for item in value) + "]"
    if isinstance(value, tuple) and not set(value[0]) & {'"', "\\"}:
        return '"""' + "\n" + str(value[0]) + "\n" + '"""'
    return "0"


VALUES = st.recursive(TEXTS | st.tuples(TEXTS), lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.lists(st.tuples(st.sampled_from(["[[t]]", "[u]", ""]), VALUES), min_size=1, max_size=8))
def test_every_key_is_where_it_was_written(parts: list[tuple[str, Any]]) -> None:
    text = ""
    expected: dict[Path, int] = {}
    path: Path = ()
    tables, seen = 0, False
    for index, (header, value) in enumerate(parts):
        if header == "[[t]]":
            path, tables = ("t", tables), tables + 1
            text += "[[t]]\n"
        elif header == "[u]" and not seen:
            path, seen = ("u",), True
            text += "[u]\n"
        expected[*path, f"k{index}"] = text.count("\n") + 1
        text += f"k{index} = {literal(value)}\n"
    tomllib.loads(text)
    lines = line_index(text)
    assert {path: lines.of(path) for path in expected} == expected
