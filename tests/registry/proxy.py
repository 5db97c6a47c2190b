"""A proxy that loses the server's answer to COMMIT, as a network does when it breaks at the worst moment."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["AnswerLost"]


class AnswerLost:
    """Listens on a TCP port and passes everything on to a PostgreSQL socket.

    While `armed`, and after it let `skip` of them through, it passes a COMMIT on, waits until the server has answered,
    and cuts the connection instead of passing the answer back.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.armed = False
        self.skip = 0
        self.lost = 0
        self._thread = threading.Thread(target=self._accept)
        self._workers: list[threading.Thread] = []

    def __enter__(self) -> AnswerLost:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Closing a socket does not wake a thread that waits in accept; a shutdown does.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for worker in self._workers:
            worker.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            committing = threading.Event()
            for source, target, is_client in ((client, server, True), (server, client, False)):
                worker = threading.Thread(target=self._pump, args=(source, target, is_client, committing))
                worker.start()
                self._workers.append(worker)

    def _pump(
        self, source: socket.socket, target: socket.socket, is_client: bool, committing: threading.Event
    ) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_client and self.armed and b"COMMIT" in data:
                    self.skip -= 1
                    if self.skip < 0:
                        committing.set()
                elif not is_client and committing.is_set():
                    self.lost += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
