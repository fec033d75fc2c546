"""The version, told once: packaging, --version and what the server says at its start read it here."""

__version__ = "0.1.0"
