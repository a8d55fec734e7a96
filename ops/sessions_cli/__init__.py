"""The part of this project that runs on an operator's machine: the local API and the command line."""
