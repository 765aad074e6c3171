"""`Question`: what a client asks on a stream of Arrow Flight, and its one answer."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa

from chroma_nb.wire.flight import as_answer


class Question:
    """A question, which is answered once: by the thread that carries it out, or by the one that notices that it is late.

    Args:
        writer: The stream's.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self.is_answered = False
        #: The answer could not be sent, which is nobody's fault.
        self.client_has_gone = False

    def answer(self, batch: Any, metadata: bytes) -> bool:
        """Send an answer, unless another one was sent; say whether it was this one.

        Args:
            batch: Its records; None: there are none.
            metadata: What is said beside them, as JSON.
        """
        with self._lock:
            if self.is_answered:
                return False
            self.is_answered = True
            try:
                if batch is None:
                    self._writer.write_metadata(pa.py_buffer(metadata))
                else:
                    self._writer.write_with_metadata(as_answer(batch), pa.py_buffer(metadata))
            except (pa.ArrowException, OSError):
                self.client_has_gone = True
            return True
