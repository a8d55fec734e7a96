"""The `sessions` command, which runs on an operator's machine."""
