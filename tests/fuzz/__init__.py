"""Fuzz targets: arbitrary bytes, in arbitrary pieces, and whatever else may happen to a connection meanwhile.

``python -m tests.fuzz`` runs them; CONTRIBUTING.md says how. ``tests/test_fuzz.py`` runs their seeds.
"""
