"""Rebuild, audit and redrive as functions on any engine, in one thread and without pauses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from sessions_cli import audit, bulk, rebuild, redrive
from sessions_cli.bulk import Throttled
from sessions_cli.reconcile import ReconcileReport
from sessions_cli.tables import Tables

__all__ = ["FailureQueue", "Repairs", "SameThread", "Throttled"]


class SameThread(Executor):
    """Runs what is submitted at once, in the thread of the test."""

    def __init__(self, _workers: int = 1) -> None:
        pass

    def submit(self, work: Any, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


class Repairs:
    """The repairs of one pair of tables."""

    def __init__(self, dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_pause: Callable[[], object] = lambda: None
        """Called instead of each pause."""
        self._tables = Tables(dynamodb, "sessions", "counts")
        monkeypatch.setattr(rebuild, "ThreadPoolExecutor", SameThread)
        monkeypatch.setattr(audit, "sleep", self._pause)
        monkeypatch.setattr(redrive, "sleep", self._pause)
        monkeypatch.setattr(bulk, "BACKOFF_MAX", 0.0)

    def _pause(self, _seconds: float) -> None:
        self.on_pause()

    def rebuild(self, **options: Any) -> ReconcileReport:
        return rebuild.rebuild(self._tables, rate=1e9, workers=1, **options)

    def audit(self, **options: Any) -> audit.AuditReport:
        return audit.audit(self._tables, **options)

    def redrive(self, streams: Any, sqs: Any, url: str = "") -> redrive.RedriveReport:
        return redrive.redrive(self._tables, streams, sqs, url)


class FailureQueue:
    """The queue and the streams client of a redrive, which receives every message once."""

    def __init__(self, shards: list[list[dict[str, Any]]], messages: dict[str, str]) -> None:
        self._shards = shards
        self.messages = messages
        self._unseen = list(messages.items())

    def get_shard_iterator(self, ShardId: str, SequenceNumber: str, **_: str) -> dict[str, Any]:  # noqa: N803
        return {"ShardIterator": f"{ShardId} {SequenceNumber}"}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        shard, start = map(int, ShardIterator.split())
        return {
            "Records": self._shards[shard][start : start + 2],
            "NextShardIterator": f"{shard} {start + 2}",
        }

    def receive_message(self, **_: Any) -> dict[str, Any]:
        seen, self._unseen = self._unseen[:1], self._unseen[1:]
        return {"Messages": [{"MessageId": key, "ReceiptHandle": key, "Body": body} for key, body in seen]}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self.messages.pop(ReceiptHandle, None)
