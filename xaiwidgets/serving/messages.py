"""Reading the header of a kernel's message on its way to the page, with its numbers checked.

Voila reads every binary message as one of the newer protocol. A socket that has just closed gets messages of the older
one, whose first bytes mean another thing: taken for a count of parts they give billions, and the server fills its
memory counting them. So the count is checked against the message before anything is read.
"""

from __future__ import annotations

import json
from typing import Any

from voila.tornado import kernel_websocket_handler

#: Bytes of one number at the start of a message.
NUMBER = 8


def read_header(message: bytes) -> dict[str, Any] | None:
    """Return the header of a message of the v1 websocket protocol, or ``None`` if it is none."""
    count = int.from_bytes(message[:NUMBER], "little")
    if not 3 <= count <= len(message) // NUMBER - 1:
        return None
    first, last = (int.from_bytes(message[NUMBER * i : NUMBER * (i + 1)], "little") for i in (2, 3))
    try:
        header = json.loads(message[first:last])
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def install() -> None:
    """Make Voila's websocket handler read headers with ``read_header``."""
    kernel_websocket_handler.read_header_from_binary_message = read_header
