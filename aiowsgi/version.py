"""The version, told once: packaging, the Server field and --version read it here."""

__version__ = "0.1.0"
