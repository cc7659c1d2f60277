"""An HTTP proxy between the browser and the stack, which kills or holds the connections that carry a file."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import urllib.parse

CHUNK = 64 * 1024


class CuttingProxy:
    """Forwards plain HTTP requests. After `cut_after` bytes of parts it interferes once with those that send parts.

    With the mode `kill` it resets their connections; with `hold` it stops forwarding until `release` is called. Before
    that it forwards one part at a time, so that some parts are stored and others are not.
    """

    def __init__(self, cut_after: int, mode: str) -> None:
        self.cut_after = cut_after
        self.mode = mode
        self.was_cut = threading.Event()
        self.stored: list[int] = []
        """The parts that the storage has accepted, in order, with repetitions."""
        self.stored_before_cut: list[int] = []
        self._sent = 0
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._uploading: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self._released.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                self._forward(client)
        except OSError:
            pass  # One side has ended the connection.
        finally:
            self._uploading.discard(client)

    def _forward(self, client: socket.socket) -> None:
        head, body = _read_head(client)
        if not head:
            return
        request, *headers = head.decode("latin-1").split("\r\n")
        method, target, _ = request.split(" ")
        url = urllib.parse.urlsplit(target)
        part = re.search(r"[?&]partNumber=(\d+)", target) if method == "PUT" else None
        length = next((int(line.split(":")[1]) for line in headers if line.lower().startswith("content-length:")), 0)
        path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        kept = [line for line in headers if line and not line.lower().startswith(("connection:", "proxy-connection:"))]
        order = self._one_at_a_time if part and not self.was_cut.is_set() else contextlib.nullcontext()
        with order, socket.create_connection((url.hostname or "", url.port or 80)) as server:
            server.sendall(
                "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""]).encode("latin-1")
            )
            if part:
                self._uploading.add(client)
            while True:
                if part:
                    self._count(len(body))
                server.sendall(body)
                length -= len(body)
                if length <= 0 or not (body := client.recv(CHUNK)):
                    break
            answer = b""
            while received := server.recv(CHUNK):
                answer += received[: max(0, 12 - len(answer))]
                client.sendall(received)
        if part and answer.startswith(b"HTTP/1.1 200"):
            with self._lock:
                self.stored.append(int(part[1]))

    def _count(self, size: int) -> None:
        """Counts bytes of parts, and interferes when enough were sent."""
        with self._lock:
            self._sent += size
            is_now = self._sent >= self.cut_after and not self.was_cut.is_set()
            if is_now:
                self.stored_before_cut = list(self.stored)
                self.was_cut.set()
        if self.mode == "hold" and self.was_cut.is_set():
            self._released.wait()
        if is_now and self.mode == "kill":
            for connection in list(self._uploading):
                # With this option, closing sends a reset: the browser sees a connection that breaks.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            raise ConnectionResetError


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request, and the bytes of its body that came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = client.recv(CHUNK)
        if not received:
            return b"", b""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body
