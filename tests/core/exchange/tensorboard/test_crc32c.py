"""The checksum is the standard's and TensorBoard's, one by one and in rows."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from traindeck.core.exchange.tensorboard.crc32c import crc32c, masked, masked_crcs


def test_crc32c_agrees_with_the_standard_and_with_tensorboard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    source = random.Random(1)
    for size in (*range(0, 700, 7), 4096, 100_001):
        data = source.randbytes(size)
        assert masked(crc32c(data)) == masked_crc32c(data), size


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 40), st.integers())
def test_crcs_of_rows_are_the_crcs_of_each_row(size: int, rows: int, seed: int) -> None:
    block = random.Random(seed).randbytes((size + 4) * rows)
    each = [masked(crc32c(block[at : at + size])) for at in range(0, len(block), size + 4)]
    assert masked_crcs(block, size + 4, size) == each
