"""A page at an offset, out of counts and index."""
