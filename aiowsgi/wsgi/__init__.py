"""One blocking call: Request in, Response out (PEP 3333)."""
