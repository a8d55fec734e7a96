"""Keeps the counts from the table's stream, and tells Lambda the first record to retry.

Powertools' batch processor handles one record at a time; here a transaction counts many sessions.
"""

import os
from typing import Any

from sessions.client import create_client
from sessions.counting.transitions import after_changes, stream_changes
from sessions.counting.writer import CountWriter
from sessions.observability import Observability

counts = CountWriter(create_client(), os.environ["COUNTS_TABLE"])
observability = Observability()


@observability.instrument
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Return the first record that could not be counted, if any.

    Lambda retries everything from that record on, which changes nothing for sessions already counted. After the
    retries that `template.yaml` sets, it sends a pointer to the record to the failure queue.
    """
    changes = stream_changes(event["Records"])
    outcome = counts.apply(changes.by_session, after_changes)
    failed = outcome.failed | dict.fromkeys(changes.without_image.values(), "the record has no image")
    first = changes.first_to_retry(outcome.failed)
    if failed or changes.invalid:
        level, message = "error", "not all counted"
    elif changes.unlisted:
        level, message = "warning", "counted with unlisted items"
    else:
        level, message = "info", "counted"
    observability.write(
        level,
        message,
        {
            "records": len(event["Records"]),
            "failed_sessions": failed,
            "invalid_records": changes.invalid,
            "uncounted": changes.unlisted,
        },
        {
            "SessionsCounted": len(changes.by_session) - len(outcome.failed),
            "Transactions": outcome.transactions,
            "Retries": outcome.retries,
            "FailedRecords": sum(len(changes.by_session[each]) for each in outcome.failed) + len(changes.without_image),
            "InvalidRecords": len(changes.invalid),
            "UncountedItems": len(changes.unlisted),
        },
    )
    return {"batchItemFailures": [] if first is None else [{"itemIdentifier": first}]}
