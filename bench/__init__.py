"""Speed and memory of aiowsgi beside its peers: ``python -m bench --help``."""
