"""Keeps the counts from the stream of the sessions table."""
