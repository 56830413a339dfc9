"""Find every open TCP and UDP port of this machine and compare it with a policy."""

__version__ = "0.1.0"
