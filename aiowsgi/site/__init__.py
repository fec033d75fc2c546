"""Which handler answers, and with what."""
