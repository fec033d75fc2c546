"""A client's socket that dies at a byte that was chosen before."""

import socket
import struct


class Died(Exception):
    """The client has come to its last byte."""


class MortalSocket:
    """As much of a socket as Peer uses; past ``life`` bytes, sent and received, Died is raised."""

    def __init__(self, inner: socket.socket, life: int) -> None:
        self._inner = inner
        self._life = life

    def sendall(self, data: bytes) -> None:
        piece = data[: self._life]
        self._inner.sendall(piece)
        self._life -= len(piece)
        if len(piece) < len(data):
            raise Died

    def recv(self, count: int) -> bytes:
        if self._life <= 0:
            raise Died
        data = self._inner.recv(min(count, self._life))
        self._life -= len(data)
        return data

    def reset(self) -> None:
        """Leave without a goodbye."""
        self._inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._inner.close()

    def shutdown(self, how: int) -> None:
        self._inner.shutdown(how)

    def close(self) -> None:
        self._inner.close()
