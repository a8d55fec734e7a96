"""The functions behind the proxy, once for all of these tests."""

from tests.faults.conftest import world

__all__ = ["world"]
