"""Why a command cannot go on: each message is one line for the operator."""


class CommandError(Exception):
    """A command cannot do what it was asked to; the message says why."""


class ConfigurationError(CommandError):
    """What to work on was not said, or does not exist; the message says what to do."""
