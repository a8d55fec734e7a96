"""Keeping the count rows and markers; the stream and the rebuild share it."""
