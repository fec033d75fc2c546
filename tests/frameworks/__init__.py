"""One small application in each of five frameworks, all with the same pages: see tests/test_frameworks.py."""
