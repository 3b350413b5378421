"""Boxes and masks beside photos: tables, COCO's JSON, and PNG masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from xaiwidgets.data.annotations import read_annotations, region_mask
from xaiwidgets.errors import InvalidImage

SIZE = (30, 40)


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", SIZE[::-1], "gray").save(tmp_path / f"{name}.jpg")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "file,label,top,left,bottom,right\nb.jpg,dog,1,2,11,22\na.jpg,cat,0,0,5,5\nb.jpg,dog,3,3,4,4\nb.jpg,cat,0,0,9,9\n",
        "filename,class,xmin,ymin,xmax,ymax\nb.jpg,dog,2,1,22,11\na.jpg,cat,0,0,5,5\nb.jpg,dog,3,3,4,4\nb.jpg,cat,0,0,9,9\n",
        "image,name,x,y,width,height\nb.jpg,dog,2,1,20,10\na.jpg,cat,0,0,5,5\nb.jpg,dog,3,3,1,1\nb.jpg,cat,0,0,9,9\n",
    ],
    ids=["corners", "pascal", "sides"],
)
def test_tables(folder, text):
    (folder / "boxes.csv").write_text(text)
    found = read_annotations(folder)
    assert [(one.file.name, one.label) for one in found] == [("a.jpg", "cat"), ("b.jpg", "cat"), ("b.jpg", "dog")]
    assert found[2].boxes == ((1, 2, 11, 22), (3, 3, 4, 4))
    assert found[2].others == ("cat",)
    assert found[0].others == ()


def test_coco(folder):
    square = [[2, 1, 22, 1, 22, 11, 2, 11]]
    runs = {"size": list(SIZE), "counts": [30 * 5 + 3, 4, 30 * 35 - 7]}
    one = {"image_id": 7, "category_id": 3}
    (folder / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "a.jpg", "height": 30, "width": 40}],
                "categories": [{"id": 3, "name": "cat"}],
                "annotations": [
                    {**one, "bbox": [2, 1, 20, 10], "segmentation": square},
                    {**one, "bbox": [5, 3, 1, 4], "segmentation": runs},
                ],
            }
        )
    )
    (found,) = read_annotations(folder)
    assert found.size == SIZE
    assert found.boxes == ((1, 2, 11, 22), (3, 5, 7, 6))
    first, second = (region_mask(region, SIZE) for region in found.regions)
    expected = np.zeros(SIZE, bool)
    expected[3:7, 5] = True
    assert np.array_equal(second, expected)
    assert first.sum() == 200
    assert first[1:11, 2:22].all()


def test_cocos_text_is_the_same_as_its_numbers():
    """Written by the published scheme: five bits a character, differences to the run before the last."""
    counts = [153, 4, 26, 4, 1013]

    def written(counts):
        text = ""
        for number, count in enumerate(counts):
            value = count - (counts[number - 2] if number > 2 else 0)
            more = True
            while more:
                bits = value & 0x1F
                value >>= 5
                more = value != -1 if bits & 0x10 else value != 0
                text += chr((bits | 0x20 if more else bits) + 48)
        return text

    size = {"size": list(SIZE)}
    one, other = (region_mask({**size, "counts": given}, SIZE) for given in (counts, written(counts)))
    assert np.array_equal(one, other)
    assert one.sum() == 8


def test_masks_of_the_same_name(folder):
    mask = np.zeros(SIZE, np.uint8)
    mask[2:5, 3:9] = 200
    Image.fromarray(mask).save(folder / "a.png")
    (folder / "masks").mkdir()
    Image.fromarray(mask).save(folder / "masks" / "b.png")
    (folder / "cat").mkdir()
    Image.new("RGB", SIZE[::-1]).save(folder / "cat" / "c.png")
    Image.fromarray(mask).save(folder / "cat" / "c_mask.png")
    found = read_annotations(folder)
    assert [(one.file.name, one.label) for one in found] == [("a.jpg", None), ("b.jpg", None), ("c.png", "cat")]
    assert all(np.array_equal(region_mask(one.regions[0], SIZE), mask > 0) for one in found)
    with pytest.raises(InvalidImage, match=r"a.png must have the size of its photo, \(5, 5\)"):
        region_mask(found[0].regions[0], (5, 5))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no photo with any of these"),
        ({"x.csv": "file,label\na.jpg,cat\n"}, "must have the columns"),
        ({"x.csv": "file,top,left,bottom,right\na.jpg,1,2,three,4\n"}, "line 2 of x.csv must hold four numbers"),
        ({"x.csv": "file,top,left,bottom,right\nz.jpg,1,2,3,4\n"}, "z.jpg is in the annotations"),
        ({"x.json": "{}"}, "must hold COCO annotations"),
        ({"x.csv": "", "y.json": "{}"}, "one table or one file"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(folder, files, says):
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InvalidImage, match=says):
        read_annotations(folder)


def test_regions_that_are_none():
    with pytest.raises(InvalidImage, match="runs must cover"):
        region_mask({"size": [30, 40], "counts": [3, 4]}, SIZE)
    with pytest.raises(InvalidImage, match="runs must have the size"):
        region_mask({"size": [3, 4], "counts": [3, 4]}, SIZE)
    with pytest.raises(InvalidImage, match="a region must be"):
        region_mask("cat", SIZE)
