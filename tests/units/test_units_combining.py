"""Cross, join, group and union."""

from __future__ import annotations

import re

import pytest

import mlflowish as mf


@pytest.fixture
def inputs(write):
    write("img/1.png", "img/2.png", "img/3.png", "txt/2.txt", "txt/3.txt", "txt/4.txt")
    return mf.files("img/{id}.png"), mf.files("txt/{id}.txt")


def names(units):
    return [unit.name for unit in units]


def test_cross_is_each_with_each_and_made_when_asked_for(inputs, write):
    units = mf.cross(*inputs)
    assert len(units) == 9
    assert units[5].name == "img/2.png + txt/4.txt" == names(units)[5]
    assert [value.path for value in units[-1]] == ["img/3.png", "txt/4.txt"]
    assert names(units[7:]) == names(units)[7:]
    many = mf.cross(*[mf.files(["img", "txt"])] * 10)
    assert len(many) == 6**10
    assert many[6**10 - 1].name.count("txt/4.txt") == 10


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", ["img/2.png + txt/2.txt", "img/3.png + txt/3.txt"]),
        ("left", ["img/1.png + -", "img/2.png + txt/2.txt", "img/3.png + txt/3.txt"]),
        ("outer", ["img/1.png + -", "img/2.png + txt/2.txt", "img/3.png + txt/3.txt", "- + txt/4.txt"]),
    ],
)
@pytest.mark.parametrize("on", [None, "id", ["id"], r"(\d)\.", re.compile(r"(?P<n>\d)"), lambda unit: unit.keys["id"]])
def test_join_puts_together_what_belongs_together(inputs, how, expected, on):
    units = mf.join(*inputs, on=on, how=how)
    assert names(units) == expected
    assert [None if value is None else value.path for value in units[0]] == [
        None if part == "-" else part for part in expected[0].split(" + ")
    ]


def test_several_units_with_one_key_go_with_each_of_the_others(write):
    write("s1-a.x", "s1-b.x", "s2-a.x", "s1.y")
    units = mf.join(mf.files("{s}-{part}.x"), mf.files("{s}.y"))
    assert names(units) == ["s1-a.x + s1.y", "s1-b.x + s1.y"]
    assert units[1].keys == {"s": "s1", "part": "b"}


def test_a_step_gets_an_argument_from_each_input_and_none_for_what_is_absent(inputs):
    @mf.step
    def both(image, label):
        return image.read_text() + "|" + ("none" if label is None else label.read_text())

    results = both.map(mf.join(*inputs, how="left"))
    assert results["img/1.png + -"] == "img/1.png|none"
    assert results["img/2.png + txt/2.txt"] == "img/2.png|txt/2.txt"


def test_combined_units_can_be_combined_again(inputs, write):
    write("model.bin")
    units = mf.cross(mf.join(*inputs, how="outer"), mf.files("model.bin"))
    assert [len(unit) for unit in units] == [3] * 4
    assert units[3].values[0] is None
    assert units[3].values[2].path == "model.bin"
    outer = mf.join(mf.join(*inputs), mf.files("img/{id}.png"), how="outer", on="id")
    assert names(outer)[-1] == "- + img/1.png"
    assert outer[2].values[:2] == (None, None)


def test_group_gives_lists_and_an_empty_one_for_what_an_input_has_not(inputs, write):
    write("img/10.png")
    units = mf.group(*inputs, by=lambda unit: int(unit.keys["id"]) % 3)
    assert [(unit.name, [len(part) for part in unit]) for unit in units] == [
        ("0", [1, 1]),
        ("1", [2, 1]),
        ("2", [1, 1]),
    ]
    assert [[file.path for file in part] for part in units[1]] == [["img/1.png", "img/10.png"], ["txt/4.txt"]]
    one = mf.group(mf.union(*inputs), by="id")
    assert names(one) == ["id=1", "id=10", "id=2", "id=3", "id=4"]
    assert one["id=2"].keys == {"id": "2"}

    @mf.step
    def total(files):
        return sum(len(file.read_text()) for file in files)

    assert total.map(one)["id=2"] == 18


def test_union_keeps_what_is_in_both_once(inputs):
    images, labels = inputs
    assert names(mf.union(labels, images, labels[:1])) == names(labels) + names(images)


def test_units_of_one_name_that_are_not_the_same_are_refused():
    import pyarrow as pa

    one = mf.partitions(pa.table({"a": [1]}), by="a")
    other = mf.partitions(pa.table({"a": [1], "b": [2]}), by="a")
    with pytest.raises(mf.InvalidInputError, match="two units are named 'a=1'"):
        len(mf.union(one, other))
    named = mf.partitions(pa.table({"a": [1], "b": [2]}), by="a", name="other")
    assert mf.union(one, named).names == ["a=1", "other/a=1"]


def test_mistakes_say_what_to_write(inputs, write):
    images, labels = inputs
    with pytest.raises(mf.InvalidInputError, match=r"no keys in common"):
        len(mf.join(mf.files("img/*"), labels))
    with pytest.raises(mf.InvalidInputError, match=r"img/1\.png has no key 'subject' \(its keys: id\)"):
        len(mf.join(images, labels, on="subject"))
    with pytest.raises(mf.InvalidInputError, match=r"finds nothing in the name of the unit img/1\.png"):
        len(mf.join(images, labels, on=r"(\d)\.txt"))
    with pytest.raises(mf.InvalidInputError, match="has no group"):
        len(mf.group(images, by=re.compile("x")))
    with pytest.raises(mf.InvalidInputError, match="'inner', 'left' or 'outer'"):
        mf.join(images, labels, how="right")
    for wrong in ((), ("img/*",)):
        with pytest.raises(mf.InvalidInputError, match="takes units"):
            mf.cross(*wrong)
    with pytest.raises(mf.InvalidInputError, match="has 2 values"):
        mf.cross(images, labels)[0].value
