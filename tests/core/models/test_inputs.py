"""Files of all kinds as the inputs of a model."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.core.models.client import Client, Input
from traindeck.core.models.inputs import arrays, read

IMAGE = [Input("image", "UINT8", (-1, 4, 4))]
TABLE = [Input("x", "FP32", (-1, 2))]
TWO = [Input("x", "FP32", (-1, 2)), Input("n", "INT64", (-1,))]


def of(data: bytes, inputs: list[Input], **labels: list[str]) -> dict[str, Any]:
    return arrays(data, "file", inputs, labels)[0]


def picture(size: tuple[int, int], mode: str = "L") -> bytes:
    from PIL import Image

    made = io.BytesIO()
    Image.new(mode, size, 7 if mode == "L" else (7, 8, 9)).save(made, "PNG")
    return made.getvalue()


def npy(array: Any) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def test_arrays_with_and_without_a_batch() -> None:
    for array in (np.ones((4, 4)), np.ones((1, 4, 4), np.int64)):
        made = of(npy(array), IMAGE)["image"]
        assert (made.shape, made.dtype) == ((1, 4, 4), np.uint8)


def test_several_arrays_by_name() -> None:
    made = io.BytesIO()
    np.savez(made, x=np.ones((3, 2)), n=np.arange(3))
    found = of(made.getvalue(), TWO)
    assert (found["x"].dtype, found["n"].dtype) == (np.float32, np.int64)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        {"x": [[1, 2], [3, 4]]},
        {"instances": [[1, 2], [3, 4]]},
        {"inputs": {"x": [[1, 2], [3, 4]]}},
        [{"x": [1, 2]}, {"x": [3, 4]}],
    ],
)
def test_json_in_each_way_that_people_write_it(value: Any) -> None:
    assert of(json.dumps(value).encode(), TABLE)["x"].tolist() == [[1, 2], [3, 4]]


def test_tables_are_ordered_by_the_models_columns() -> None:
    assert of(b"1,2\n3,4\n", TABLE)["x"].tolist() == [[1, 2], [3, 4]]
    data = b"age,id,size\n1,9,2\n3,9,4\n"
    assert of(data, TABLE, x=["size", "age"])["x"].tolist() == [[2, 1], [4, 3]]


def test_flat_rows_of_the_right_size_are_made_the_models_shape() -> None:
    row = ",".join(map(str, range(16)))
    made, said = arrays(f"{row}\n{row}\n".encode(), "rows.csv", IMAGE, {})
    assert made["image"].tolist() == [np.arange(16).reshape(4, 4).tolist()] * 2
    assert said == ["rows.csv: rows of 16 numbers were made 4×4"]
    assert of(json.dumps(list(range(16))).encode(), IMAGE)["image"].shape == (1, 4, 4)
    assert of(npy(np.ones((1, 16))), IMAGE)["image"].shape == (1, 4, 4)
    assert arrays(npy(np.ones((4, 4))), "x", IMAGE, {})[1] == []
    with pytest.raises(UsageError, match="or rows of 16 numbers"):
        of(b"1,2,3\n", IMAGE)
    free = [Input("image", "UINT8", (-1, -1, 4))]
    with pytest.raises(UsageError, match=r"\(-1: any\)$"):
        of(npy(np.ones((2, 16))), free)


def test_pictures_are_made_grey_and_of_the_models_size_and_that_is_said() -> None:
    made, said = arrays(picture((8, 6), "RGB"), "cat.png", IMAGE, {})
    assert made["image"].shape == (1, 4, 4)
    assert said == ["cat.png was 8×6, made 4×4"]
    assert arrays(picture((4, 4)), "x", IMAGE, {})[1] == []
    colours = [Input("x", "FP32", (-1, 4, 4, 3))]
    assert of(picture((4, 4), "RGB"), colours)["x"][0, 0, 0].tolist() == [7, 8, 9]
    first = [Input("x", "FP32", (-1, 3, 4, 4))]
    assert of(picture((4, 4), "RGB"), first)["x"][0, :, 0, 0].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("data", "inputs", "words"),
    [
        (b"", TABLE, "file is empty"),
        (b"\x93NUMPY torn", TABLE, "cannot be read as numpy wrote it"),
        (b"\x89PNG torn", IMAGE, "is no picture that can be read"),
        (b"{", TABLE, "is no JSON"),
        (b"\xff\xfe", TABLE, "is no picture, JSON, .npy, and no CSV"),
        (b"a,b\n1,x\n", TABLE, "row 1 is not numbers"),
        (b"1,2\n1\n", TABLE, "inhomogeneous"),
        (b"[[1, 2, 3]]", TABLE, r"has shape \[1, 3\], the model takes \[-1, 2\]"),
        (b'[["a", "b"]]', TABLE, "x is not numbers"),
        (b'{"y": [[1, 2]]}', TABLE, "file has y; the model takes x"),
        (b"[[1, 2]]", TWO, "the model takes x, n: give JSON or .npz"),
        (b"[[[300, 0, 0, 0]]]", IMAGE, "has shape"),
        (json.dumps([[[300] * 4] * 4]).encode(), IMAGE, "whole numbers from 0 to 255"),
        (json.dumps([[[0.5] * 4] * 4]).encode(), IMAGE, "whole numbers from 0 to 255"),
    ],
)
def test_what_is_no_such_input_is_said(data: bytes, inputs: list[Input], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        of(data, inputs)


def test_pictures_are_brought_to_the_models_unit_and_that_is_said() -> None:
    made, said = arrays(picture((4, 4)), "x.png", IMAGE, {}, {"image": "0 to 16"})
    plain, _ = arrays(picture((4, 4)), "x.png", IMAGE, {}, {"image": "0 to 255"})
    assert np.array_equal(made["image"], np.rint(plain["image"] * 16 / 255))
    assert said == ["x.png was 0 to 255, made 0 to 16: the model's unit"]
    floats = [Input("x", "FP32", (-1, 4, 4))]
    made, _ = arrays(picture((4, 4)), "x.png", floats, {}, {"x": "0 to 1"})
    assert np.allclose(made["x"], plain["image"] / 255)


def test_columns_that_are_missing_are_named() -> None:
    with pytest.raises(UsageError, match="file has no column size"):
        of(b"age,id\n1,2\n", TABLE, x=["age", "size"])


def test_files_that_are_not_there() -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        read("/nowhere/x.npy", None)
    assert read("-", io.BytesIO(b"1")) == b"1"


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://x:y", "127.0.0.1:8501"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="is no address of a server"):
        Client(url)
