"""A TLS client that sees how its connection ends: told by TLS, or only by the network."""

import socket
import ssl
from contextlib import suppress
from typing import cast

from tests.thread_server import Peer


class SecureSocket:
    """As much of a socket as Peer uses, with TLS over it.

    It is ssl.SSLObject over memory and not ssl.SSLSocket: whether the server has said that this was the end does not
    depend on what the network says then, a reset that overtakes an end of file included.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.secure = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.told = False  # the server has said that this was the end

    def shake_hands(self) -> None:
        """Raises SSLError, ConnectionError."""
        while True:
            try:
                self.secure.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise ConnectionAbortedError("the server closed in the handshake") from None
            else:
                self._flush()
                return

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self.secure.write(data) :]
            self._flush()

    def recv(self, count: int) -> bytes:
        while True:
            try:
                data = self.secure.read(count)
            except ssl.SSLWantReadError:
                if not self._fill():
                    return b""
            except ssl.SSLZeroReturnError:
                data = b""
                self.told = True
                return data
            else:
                self.told = self.told or not data
                return data

    def shutdown(self, how: int) -> None:
        """Say that no more is sent, and go on to receive."""
        assert how == socket.SHUT_WR
        with suppress(ssl.SSLWantReadError):
            self.secure.unwrap()
        self._flush()

    def setsockopt(self, *arguments: int) -> None:
        self.raw.setsockopt(*arguments)

    def close(self) -> None:
        self.raw.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.sendall(self._outgoing.read())

    def _fill(self) -> bool:
        """Take what the network has; False at its end, and a reset is one."""
        try:
            data = self.raw.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._incoming.write(data)
        return bool(data)


class SecurePeer(Peer):
    """A Peer by TLS."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        context: ssl.SSLContext,
        name: str | None = "localhost",
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(address, receive_buffer)
        self.tls = SecureSocket(self.socket, context, name)
        self.socket = cast(socket.socket, self.tls)
        try:
            self.tls.shake_hands()
        except OSError:
            self.tls.close()
            raise

    def certificate(self) -> bytes:
        """Return the server's, in DER form."""
        found = self.tls.secure.getpeercert(binary_form=True)
        assert found is not None
        return found
