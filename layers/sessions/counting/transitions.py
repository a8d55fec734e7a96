"""The next marker of a session, computed by pure functions from stream records and its present marker.

A session is counted where an index holds it: in the partition of `organization_id` and in that of `organization_agent`,
in each under its month and ten minutes. Its marker stores the keys under which it was counted. Every transaction
changes markers and count rows together, on the condition that the markers are as they were read. Each bin is therefore
always the number of markers that belong in it, whatever was repeated, lost or interrupted before, and counting
reduces to setting every marker to its session's keys.

    record               marker              next marker
    INSERT               equal               unchanged
    INSERT               none, or different  keys of the new image
    REMOVE               equal               none
    REMOVE               none, or different  unchanged
    session, read again  any                 keys of the session, or none

A marker that only said 'counted' would not do: when put, delete, put of one id is delivered twice with different keys,
it could not tell which of the two puts it stands for.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sessions.schema import ID, IndexKeys, index_keys, unlisted_reason

INSERT: Final = "INSERT"
REMOVE: Final = "REMOVE"

Marker = IndexKeys | None
"""The keys under which a session is counted; None: it is not counted."""


class MarkerUpdate(NamedTuple):
    """The marker of a session as it was read, and its next one."""

    before: Marker
    after: Marker


class StreamChange(NamedTuple):
    """An insertion or removal of a session."""

    inserted: bool
    keys: Marker
    sequence_number: str


class StreamChanges(NamedTuple):
    """The changes in a batch of stream records."""

    by_session: dict[str, list[StreamChange]]
    """Changes by session id, in the order of each session's first record."""
    without_image: dict[str, str]
    """Session ids by sequence number, of records without an image (the stream has another view type): their keys are
    known only to the sessions table."""
    invalid: list[str]
    """Event ids and errors of records that cannot come from the sessions table."""
    unlisted: dict[str, str]
    """Why an inserted item is missing from a list, by session id."""

    def first_to_retry(self, failed: Container[str]) -> str | None:
        """Return the sequence number of the first record to retry, or None.

        Args:
            failed: ids of sessions that could not be counted.
        """
        numbers = [changes[0].sequence_number for each, changes in self.by_session.items() if each in failed]
        return min([*numbers, *self.without_image], key=int, default=None)


def stream_changes(records: Iterable[Mapping[str, Any]]) -> StreamChanges:
    """Return the insertions and removals in stream records; an unreadable record does not affect the others.

    Modifications are ignored: the keys of a session never change.

    Args:
        records: as Lambda delivers them ('Using AWS Lambda with Amazon DynamoDB').
    """
    found = StreamChanges({}, {}, [], {})
    for record in records:
        try:
            kind, stream = record["eventName"], record["dynamodb"]
            if kind not in (INSERT, REMOVE):
                continue
            session_id = _require_utf8(stream["Keys"][ID]["S"])
            sequence_number = _require_utf8(stream["SequenceNumber"])
            int(sequence_number)
            image = stream.get("NewImage" if kind == INSERT else "OldImage")
            if image is None:
                found.without_image[sequence_number] = session_id
                continue
            keys = index_keys(session_id, image)
            for key in filter(None, keys or ()):
                _require_utf8(key)
            reason = unlisted_reason(session_id, image)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            found.invalid.append(f"{_event_id(record)}: {type(error).__name__}: {error}")
            continue
        found.by_session.setdefault(session_id, []).append(StreamChange(kind == INSERT, keys, sequence_number))
        found.unlisted.pop(session_id, None)
        if kind == INSERT and reason is not None:
            found.unlisted[session_id] = reason
    return found


def after_changes(marker: Marker, changes: Sequence[StreamChange]) -> Marker:
    """Return the next marker after changes to its session, in order."""
    for change in changes:
        if change.inserted:
            marker = change.keys
        elif change.keys == marker:
            marker = None
    return marker


def _require_utf8(text: object) -> str:
    """Return a string that DynamoDB's JSON can carry.

    Raises:
        TypeError: not a string.
        ValueError: a lone surrogate.
    """
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} instead of a string")
    text.encode()
    return text


def _event_id(record: Mapping[str, Any]) -> str:
    try:
        return str(record["eventID"])[:64]
    except (KeyError, TypeError):  # not even an object
        return "None"
