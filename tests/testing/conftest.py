"""The fixture is taken from its module, so that it is there in a checkout that was installed before it had the plug-in."""

from hostd.testing.plugin import hostd_bench

__all__ = ["hostd_bench"]
