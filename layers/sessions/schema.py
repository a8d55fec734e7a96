"""The tables in code: attribute names, indexes, composed keys and markers. No other module spells an attribute name.

    sessions   id                     the Session fields, plus the two composed keys of the indexes
               by_organization        organization_id, created_at_id
               by_organization_agent  organization_agent, created_at_id
    counts     scope, bucket          count rows (see `histograms.py`), and a marker for each counted session
    api_keys   key_hash               the organization that a key belongs to

docs/data-layout.md describes the same layout for writers in other languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Item = dict[str, Any]
"""An item in DynamoDB's JSON: `{"title": {"S": "..."}, ...}`."""

# table sessions

ID: Final = "id"
ORGANIZATION_ID: Final = "organization_id"
AGENT_ID: Final = "agent_id"
CREATED_AT: Final = "created_at"
ORGANIZATION_AGENT: Final = "organization_agent"
"""Composed: `organization_id#agent_id`."""
CREATED_AT_ID: Final = "created_at_id"
"""Composed: `created_at#id`; the sort key of both indexes."""

SEPARATOR: Final = "#"
"""Between the parts of a composed key; no id and no time contains it."""


class Index(NamedTuple):
    """An index of the sessions table; the sort key of each is `created_at_id`."""

    name: str
    partition_key: str


BY_ORGANIZATION: Final = Index("by_organization", ORGANIZATION_ID)
BY_ORGANIZATION_AGENT: Final = Index("by_organization_agent", ORGANIZATION_AGENT)


def composed(*parts: str) -> str:
    return SEPARATOR.join(parts)


@dataclass(frozen=True, slots=True)
class Partition:
    """The sessions of an organization, or of one of its agents: one partition of one index."""

    organization_id: str
    agent_id: str | None

    @property
    def index(self) -> Index:
        return BY_ORGANIZATION if self.agent_id is None else BY_ORGANIZATION_AGENT

    @property
    def scope(self) -> str:
        """Return the partition key in the index, which is also the scope of the partition's count rows."""
        return self.organization_id if self.agent_id is None else composed(self.organization_id, self.agent_id)


class IndexKeys(NamedTuple):
    """Keys under which the indexes hold a session; None where an index does not hold it."""

    organization_id: str | None
    organization_agent: str | None
    created_at_id: str

    @property
    def scopes(self) -> list[str]:
        return [scope for scope in (self.organization_id, self.organization_agent) if scope is not None]


def index_keys(session_id: str, item: Item) -> IndexKeys | None:
    """Return the keys under which an item of the sessions table is counted, or None if it is not counted.

    An index holds an item that has both of its keys. A partition key in the form of the other index (an organization
    with a `#`, an agent key without one) would share its scope with rows of that index and belongs to no partition
    that a caller can request, so it is not counted. Neither is a session whose id is too long for a marker's key.
    """
    created_at_id = _text(item, CREATED_AT_ID)
    if created_at_id is None or not is_valid_marker_id(session_id):
        return None
    organization_id, organization_agent = _text(item, ORGANIZATION_ID), _text(item, ORGANIZATION_AGENT)
    if organization_id is not None and SEPARATOR in organization_id:
        organization_id = None
    if organization_agent is not None and SEPARATOR not in organization_agent:
        organization_agent = None
    if organization_id is None and organization_agent is None:
        return None
    return IndexKeys(organization_id, organization_agent, created_at_id)


def unlisted_reason(session_id: str, item: Item) -> str | None:
    """Return why an item is missing from a list that it belongs in, or None if both indexes list it."""
    keys = index_keys(session_id, item)
    if keys is None:
        cause = f"no usable {CREATED_AT_ID}" if _text(item, CREATED_AT_ID) is None else "no usable partition key"
        return f"in no list and not counted: {cause if is_valid_marker_id(session_id) else 'its id is too long'}"
    if keys.organization_agent is None:
        return f"missing from its agent's list: no usable {ORGANIZATION_AGENT}"
    if keys.organization_id is None:
        return f"missing from its organization's list: no usable {ORGANIZATION_ID}"
    return None


# table counts

SCOPE: Final = "scope"
BUCKET: Final = "bucket"

MARKER_BUCKET: Final = "S"
MARKER_PREFIX: Final = "session#"
"""Each marker has a partition of its own, which keeps markers out of the organization's partition."""

PARTITION_KEY_BYTES: Final = 2048
"""Length of a partition key's value ('Quotas in Amazon DynamoDB', partition keys)."""


def count_row_key(scope: str, bucket: str) -> Item:
    return {SCOPE: {"S": scope}, BUCKET: {"S": bucket}}


def marker_key(session_id: str) -> Item:
    return count_row_key(MARKER_PREFIX + session_id, MARKER_BUCKET)


def marker_item(session_id: str, keys: IndexKeys) -> Item:
    attributes = {name: {"S": value} for name, value in keys._asdict().items() if value is not None}
    return marker_key(session_id) | attributes


def marker_session_id(row: Item) -> str | None:
    """Return the session id of a marker in the counts table, or None for a count row."""
    scope: str = row[SCOPE]["S"]
    if row[BUCKET]["S"] != MARKER_BUCKET or not scope.startswith(MARKER_PREFIX):
        return None
    return scope.removeprefix(MARKER_PREFIX)


def marker_index_keys(marker: Item) -> IndexKeys | None:
    created_at_id = _text(marker, CREATED_AT_ID)
    if created_at_id is None:
        return None
    return IndexKeys(_text(marker, ORGANIZATION_ID), _text(marker, ORGANIZATION_AGENT), created_at_id)


def is_valid_marker_id(session_id: str) -> bool:
    """Return whether a session id fits into a marker's key."""
    try:
        return len((MARKER_PREFIX + session_id).encode()) <= PARTITION_KEY_BYTES
    except UnicodeEncodeError:  # a lone surrogate, which DynamoDB's JSON cannot carry
        return False


# table api_keys

KEY_HASH: Final = "key_hash"
KEY_NAME: Final = "name"
EXPIRES_AT: Final = "expires_at"


def _text(item: Item, name: str) -> str | None:
    # An index omits an item whose key attribute is missing, empty or not a string.
    value = item.get(name, {}).get("S")
    return value or None
