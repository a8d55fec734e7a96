"""Events for the handlers: those that hostile callers can make the gateway and the stream send, and any others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

from tests.service import KEY, ORGANIZATION, OTHER_ORGANIZATION, event

THEIRS: Final = "evr_" + "theirs00" * 4
"""The key of the other organization."""

text = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *("", " ", "null", "0", "1", "-1", "20", "101", "1e3", "２", "2147483647", "2147483648", "9" * 400),
            *(ORGANIZATION, OTHER_ORGANIZATION, "org_" + "a" * 31, f"agent_{'1' * 32}", f"agent_{'2' * 31}"),
            *(KEY, f"Bearer {KEY}", f"bearer  {KEY} ", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY}\n", f"{KEY},{KEY}"),
            *("agent_id", "offset", "limit", "organization_id", "__proto__", "../../etc/passwd", "%00", "\r\nX: y"),
            *("\ud800", "é" * 50, "\u202e", "\x00", "{}", "[]", "<script>", "' OR 1=1 --", "*", "org_*"),
        ]
    ),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
header_names = st.sampled_from(
    ["Authorization", "authorization", "AUTHORIZATION", "X-Org-Id", "x-org-id", "Origin", "Accept", "Cookie"]
)
headers = st.dictionaries(header_names, st.lists(text, min_size=1, max_size=3), max_size=4)
queries = st.dictionaries(
    st.sampled_from(["agent_id", "offset", "limit"]) | text, st.lists(text, min_size=1, max_size=2), max_size=3
)
authorizers = st.sampled_from(
    [None, {}, {"organization_id": ORGANIZATION}, {"organization_id": OTHER_ORGANIZATION}]
) | st.dictionaries(
    st.sampled_from(["organization_id", "expires_at", "key_name", "principalId"]), text | st.none(), max_size=4
)


def changed(base: Any) -> st.SearchStrategy[Any]:
    """Return copies of an event in which some parts, at any depth, are junk or missing."""

    def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if path:
            yield path
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in inner:
            yield from paths(each, (*path, key))

    def apply(changes: list[tuple[tuple[Any, ...], bool, Any]]) -> Any:
        made = copy.deepcopy(base)
        for path, is_removed, value in changes:
            holder = made
            try:
                for key in path[:-1]:
                    holder = holder[key]
                if is_removed:
                    del holder[path[-1]]
                else:
                    holder[path[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue
        return made

    one = st.tuples(st.sampled_from(list(paths(base))), st.booleans(), junk)
    return st.lists(one, min_size=1, max_size=4).map(apply)


@st.composite
def list_events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event of `list_sessions` in the gateway's form, with anything in what callers choose."""
    made = event()
    query, sent = draw(queries), draw(headers)
    made["multiValueQueryStringParameters"] = query or None
    made["queryStringParameters"] = {name: values[-1] for name, values in query.items()} or None
    made["multiValueHeaders"] = sent or None
    made["headers"] = {name: values[-1] for name, values in sent.items()} or None
    made["httpMethod"] = draw(st.sampled_from(["GET"] * 5 + ["POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"]))
    made["path"] = draw(st.sampled_from(["/v1/sessions", "/base/v1/sessions"]) | text)
    made["resource"] = draw(st.sampled_from(["/v1/sessions"] * 5 + ["/", "/{proxy+}"]))
    made["requestContext"]["authorizer"] = draw(authorizers)
    return made


@st.composite
def authorizer_events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event of `authorize` in the gateway's form, with anything in the headers."""
    sent = draw(headers)
    last = {name: values[-1] for name, values in sent.items()}
    return event(name="authorize", multiValueHeaders=sent, headers=last)
