"""One target under atheris, as a program: ``python -m tests.fuzz.guided TARGET``, and what libFuzzer is told.

Atheris watches which ways an input takes through the server's code, and goes on with inputs that take new ones.
"""

import sys

import atheris

with atheris.instrument_imports(include=["aiowsgi"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.check)
    atheris.Fuzz()
