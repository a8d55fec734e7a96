"""The package that the functions and the operator's tools share."""
