"""Tests of counting: the stream, the rebuild, the audit, the redrive."""
