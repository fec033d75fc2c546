"""One process and its children."""
