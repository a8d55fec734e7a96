"""Stream records, and their delivery to the real handler."""

from __future__ import annotations

from typing import Any

from tests.service import CONTEXT, container, item_of, stream_record

Record = dict[str, Any]


def insert(fields: dict[str, Any], sequence: int = 1) -> Record:
    return stream_record(sequence, "INSERT", new=item_of(fields))


def remove(fields: dict[str, Any], sequence: int = 1) -> Record:
    return stream_record(sequence, "REMOVE", old=item_of(fields))


def record(kind: str, session_id: str, sequence: int, **images: Any) -> Record:
    stream = {"Keys": {"id": {"S": session_id}}, "SequenceNumber": str(sequence), **images}
    return {"eventName": kind, "eventSource": "aws:dynamodb", "dynamodb": stream}


def deliver(*records: Record) -> list[str]:
    """Return the sequence numbers that the handler reports as failed."""
    response = container("count_sessions").handler({"Records": list(records)}, CONTEXT)
    assert response.keys() == {"batchItemFailures"}
    return [each["itemIdentifier"] for each in response["batchItemFailures"]]
