"""The tables in code: every attribute name, index, composed key and marker. Nothing else spells an attribute.

    sessions   id                     the Session fields, plus the two composed keys of the indexes
               by_organization        organization_id, created_at_id
               by_organization_agent  organization_agent, created_at_id
    counts     scope, bucket          count rows (see `histograms.py`), and a marker for every counted session
    api_keys   key_hash               whose a key is

docs/data-layout.md describes the same layout for writers in other languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Item = dict[str, Any]
"""An item as DynamoDB sends it: `{"title": {"S": "..."}, ...}`."""

# ------------------------------------------------------------------------------------ table sessions

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
    """The value of a composed key attribute."""
    return SEPARATOR.join(parts)


@dataclass(frozen=True, slots=True)
class Partition:
    """The sessions of an organization, or of one of its agents: one partition of one index."""

    organization_id: str
    agent_id: str | None

    @property
    def index(self) -> Index:
        """The index that the partition belongs to."""
        return BY_ORGANIZATION if self.agent_id is None else BY_ORGANIZATION_AGENT

    @property
    def scope(self) -> str:
        """The partition key in the index, and the scope of the partition's count rows."""
        return self.organization_id if self.agent_id is None else composed(self.organization_id, self.agent_id)


class IndexKeys(NamedTuple):
    """The keys under which the indexes hold a session; None where an index does not hold it."""

    organization_id: str | None
    organization_agent: str | None
    created_at_id: str

    @property
    def scopes(self) -> list[str]:
        """The scopes in which the session counts."""
        return [scope for scope in (self.organization_id, self.organization_agent) if scope is not None]


def index_keys(session_id: str, item: Item) -> IndexKeys | None:
    """The keys under which an item of the sessions table is counted, or None when it is counted nowhere.

    An index holds an item that has both of its keys. A partition key in the other index's form (an organization with a
    `#`, an organization and agent without one) would share its scope with rows of the other index, and belongs to no
    partition that a caller can ask for: it is not counted. Nor is a session whose id is too long for a marker's key.
    """
    created_at_id = _text(item, CREATED_AT_ID)
    if created_at_id is None or not fits_marker(session_id):
        return None
    organization_id, organization_agent = _text(item, ORGANIZATION_ID), _text(item, ORGANIZATION_AGENT)
    if organization_id is not None and SEPARATOR in organization_id:
        organization_id = None
    if organization_agent is not None and SEPARATOR not in organization_agent:
        organization_agent = None
    if organization_id is None and organization_agent is None:
        return None
    return IndexKeys(organization_id, organization_agent, created_at_id)


# -------------------------------------------------------------------------------------- table counts

SCOPE: Final = "scope"
BUCKET: Final = "bucket"

MARKER_BUCKET: Final = "S"
MARKER_PREFIX: Final = "session#"
"""A marker lies in a partition of its own, so that markers do not crowd the organization's."""

PARTITION_KEY_BYTES: Final = 2048
"""Length of a partition key's value ('Quotas in Amazon DynamoDB', partition keys)."""


def count_row_key(scope: str, bucket: str) -> Item:
    """The key of a count row."""
    return {SCOPE: {"S": scope}, BUCKET: {"S": bucket}}


def marker_key(session_id: str) -> Item:
    """The key of a session's marker in the counts table."""
    return count_row_key(MARKER_PREFIX + session_id, MARKER_BUCKET)


def marker_item(session_id: str, keys: IndexKeys) -> Item:
    """The marker that says under which keys a session is counted."""
    attributes = {name: {"S": value} for name, value in keys._asdict().items() if value is not None}
    return marker_key(session_id) | attributes


def marked_session(row: Item) -> str | None:
    """The id of the session that a row of the counts table is the marker of; None for a count row."""
    scope: str = row[SCOPE]["S"]
    if row[BUCKET]["S"] != MARKER_BUCKET or not scope.startswith(MARKER_PREFIX):
        return None
    return scope.removeprefix(MARKER_PREFIX)


def marked_keys(marker: Item) -> IndexKeys | None:
    """The keys under which a marker says that its session is counted."""
    created_at_id = _text(marker, CREATED_AT_ID)
    if created_at_id is None:
        return None
    return IndexKeys(_text(marker, ORGANIZATION_ID), _text(marker, ORGANIZATION_AGENT), created_at_id)


def fits_marker(session_id: str) -> bool:
    """Whether a session's id can be part of a marker's key."""
    try:
        return len((MARKER_PREFIX + session_id).encode()) <= PARTITION_KEY_BYTES
    except UnicodeEncodeError:  # a lone surrogate, which no request can carry
        return False


# ------------------------------------------------------------------------------------ table api_keys

KEY_HASH: Final = "key_hash"
KEY_NAME: Final = "name"
EXPIRES_AT: Final = "expires_at"


def _text(item: Item, name: str) -> str | None:
    # An index leaves out an item whose key attribute is missing, empty or not a string.
    value = item.get(name, {}).get("S")
    return value or None
