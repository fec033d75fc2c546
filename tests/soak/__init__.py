"""A soak: every kind of client at once, for as long as one likes, and what the server holds when they have left.

``python -m tests.soak --minutes 10`` runs it; ``tests/test_soak.py`` runs some seconds of it.
"""
