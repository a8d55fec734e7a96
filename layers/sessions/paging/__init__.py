"""One page of a list: found by the counts, read from the index."""
