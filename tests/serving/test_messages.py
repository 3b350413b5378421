"""Headers of kernel messages: read as Voila reads them, and never counted into the billions."""

from __future__ import annotations

import json
import struct
import time

import pytest

from xaiwidgets.serving.messages import install, read_header

HEADER = {"msg_type": "execute_input", "msg_id": "1"}


def v1_message(parts):
    """Return parts as the v1 protocol lays them out: a count, offsets, then the bytes."""
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join(number.to_bytes(8, "little") for number in (len(offsets), *offsets)) + b"".join(parts)


def old_message(parts):
    """Return parts as the older protocol does: big-endian 32-bit count and offsets."""
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def test_reads_the_header_of_a_v1_message():
    message = v1_message([b"iopub", json.dumps(HEADER).encode(), b"{}", b"{}", b"{}", b"picture"])
    assert read_header(message) == HEADER


@pytest.mark.parametrize(
    "message",
    [
        old_message([json.dumps({"header": HEADER}).encode(), b"\x89PNG" * 1000, b"more"]),
        b"",
        b"\xff" * 64,
        v1_message([b"iopub", b"no json", b"{}"]),
        v1_message([b"iopub", b"[1]", b"{}"]),
    ],
    ids=["older protocol", "empty", "all ones", "no json", "no object"],
)
def test_anything_else_is_none_at_once(message):
    begun = time.process_time()
    assert read_header(message) is None
    assert time.process_time() - begun < 1  # of the processor: what others do meanwhile does not count


def test_voila_reads_headers_with_it():
    from voila.tornado import kernel_websocket_handler as handler

    before = handler.read_header_from_binary_message
    try:
        install()
        assert (
            handler.VoilaKernelWebsocketHandler.write_message.__globals__["read_header_from_binary_message"]
            is read_header
        )
    finally:
        handler.read_header_from_binary_message = before
