"""A real nginx, from Debian: over a folder, as the measure for static files, and in front of a server."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import Output

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")

_CONFIGURATION = """
{user}
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/plain txt; text/css css; application/octet-stream bin; }}
    charset utf-8;
    charset_types text/html text/plain text/css;
    server_tokens off;
    sendfile on;
    {http}
    server {{
        listen unix:{socket};
        root {root};
        {more}
    }}
}}
"""


@contextmanager
def running_nginx(root: Path, folder: Path, more: str = "", http: str = "") -> Iterator[str]:
    """Serve ``root``; ``folder`` is for what nginx writes, ``more`` belongs to its server block. Yields the socket.

    ``http`` belongs to the block around it.
    """
    assert NGINX is not None
    folder.mkdir()
    socket = folder / "socket"
    # Run by root, it would become a user who may not read the tester's folders.
    user = "user root;" if folder.stat().st_uid == 0 else ""
    text = _CONFIGURATION.format(user=user, folder=folder, socket=socket, root=root, more=more, http=http)
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            Output(process.stderr).until("getrlimit")  # told behind listen(2)
            yield str(socket)
        finally:
            process.terminate()
