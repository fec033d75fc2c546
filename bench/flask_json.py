"""A Flask application that answers a small JSON object: a framework's usual cost on top of the server's.

It has a module of its own so that ``hello`` is measured without a framework in its process.
"""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def message() -> dict[str, str]:
    """Answer ``{"message": "Hello, world!"}``."""
    return {"message": "Hello, world!"}
