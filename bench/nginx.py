"""nginx for one folder and one port, by a configuration of its own: ``python -m bench.nginx FOLDER PORT``.

The configuration goes to a temporary folder, and this process becomes nginx's.
"""

import grp
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Files are believed for 60 seconds without a look, where aiowsgi looks again after one.
CONFIGURATION = """\
daemon off;
user {user} {group};
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{
    worker_connections 20000;
}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000 inactive=60s;
    open_file_cache_valid 60s;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    types {{
        text/plain txt;
        application/octet-stream bin;
    }}
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        root "{folder}";
    }}
}}
"""


def program() -> str | None:
    """Return the path of nginx, or None; Debian has it where only root's PATH leads."""
    return shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))


def version() -> str:
    """Return the version of the nginx that is installed."""
    told = subprocess.run(
        [program() or "nginx", "-v"], capture_output=True, text=True, timeout=10, check=True
    )
    return told.stderr.strip().rpartition("/")[2]


def configuration(folder: Path, port: int) -> str:
    """Return a configuration that serves ``folder``; as root, nginx's worker stays who we are."""
    return CONFIGURATION.format(
        folder=folder.resolve(),
        port=port,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        group=grp.getgrgid(os.getegid()).gr_name,
    )


def main(folder: Path, port: int) -> None:
    """Become nginx."""
    prefix = tempfile.mkdtemp(prefix="nginx-")
    Path(prefix, "nginx.conf").write_text(configuration(folder, port))
    path = program() or "nginx"
    os.execv(path, [path, "-e", "stderr", "-p", prefix, "-c", "nginx.conf"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
