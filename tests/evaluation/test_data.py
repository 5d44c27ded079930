"""What folders and files of data are read as, and what is refused."""

from __future__ import annotations

import json
import os
import random

import pytest
from PIL import Image

from edgeclip.data.prompts import check_templates, read_templates, template_sets
from edgeclip.data.scenes import COLOURS
from edgeclip.errors import InputError, UsageError
from edgeclip.evaluation.caption_file import caption_file, read_captions
from edgeclip.evaluation.datasets import FilePicture, LabelledPictures, sample
from edgeclip.evaluation.demo import demo_data
from edgeclip.evaluation.evaluate import EvalOptions, load_data
from edgeclip.evaluation.image_folder import read_image_folder


def picture(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), colour).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes in ImageNet's manner, one picture in a folder of its own, and things that are no pictures."""
    root = tmp_path / "data"
    for name in ("n01/b.png", "n01/a.JPEG", "n02/deep/er/c.webp", ".git/x.png", "n01/.hidden.png"):
        picture(root / name)
    (root / "n02/readme.md").write_text("")
    picture(root / "stray.png")
    return root


def test_image_folder(folder):
    data = read_image_folder(folder)
    found = data.labelled
    assert found.classes == ("n01", "n02")
    assert found.names == (("n01",), ("n02",))
    assert [picture.name for picture in found.pictures] == ["n01/a.JPEG", "n01/b.png", "n02/deep/er/c.webp"]
    assert found.labels == (0, 0, 1)
    assert found.pictures[2].open().size == (12, 10)
    assert data.captioned is None
    assert data.notes == ("2 files left out, which are no pictures of a class: n02/readme.md, ...",)


def test_the_order_is_that_of_torchvision(folder):
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    from torchvision.datasets import ImageFolder

    (folder / ".git/x.png").unlink()
    (folder / ".git").rmdir()
    (folder / "n01/.hidden.png").unlink()
    theirs = ImageFolder(str(folder))
    ours = read_image_folder(folder).labelled
    assert list(ours.classes) == theirs.classes
    assert [(str(folder / p.name), label) for p, label in zip(ours.pictures, ours.labels, strict=True)] == theirs.samples


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classnames.txt", "# ImageNet\nn01 tench, Tinca tinca\nn02 grey whale\nn03 not here\n"),
        ("classnames.txt", "n01\ttench,Tinca tinca\nn02\tgrey whale\n"),
        ("classnames.json", json.dumps({"n01": ["tench", "Tinca tinca"], "n02": "grey whale"})),
    ],
)
def test_class_names(folder, tmp_path, name, content):
    (folder / name).write_text(content)
    assert read_image_folder(folder).labelled.names == (("tench", "Tinca tinca"), ("grey whale",))
    elsewhere = (folder / name).rename(tmp_path / name)
    assert read_image_folder(folder, elsewhere).labelled.names[1] == ("grey whale",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("classnames.txt", "n01 tench\n", "has no name for 1 of 2 class folders, such as 'n02'"),
        ("classnames.txt", "n01 tench\nn02\n", "line 2: an empty name"),
        ("classnames.txt", "n01 a\nn01 b\nn02 c\n", "line 2: 'n01' is named twice"),
        ("classnames.txt", b"n01 \xff\n", "cannot be used ('utf-8'"),
        ("classnames.json", '["n01"]', "Expected `object`, got `array`"),
        ("classnames.json", '{"n01": [], "n02": "b"}', "'n01': an empty name"),
        ("classnames.json", '{"n01": 7, "n02": "b"}', "cannot be used"),
    ],
)
def test_class_names_that_cannot_be_used(folder, name, content, said):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="classnames") as error:
        read_image_folder(folder)
    assert said in str(error.value)


def test_both_files_of_names(folder):
    (folder / "classnames.txt").write_text("n01 a\nn02 b\n")
    (folder / "classnames.json").write_text('{"n01": "x", "n02": "y"}')
    with pytest.raises(InputError, match="has both"):
        read_image_folder(folder)
    assert read_image_folder(folder, folder / "classnames.json").labelled.names == (("x",), ("y",))


def test_classes_that_cannot_be_told_apart_are_named(folder):
    (folder / "classnames.txt").write_text("n01 crane\nn02 crane\n")
    assert read_image_folder(folder).notes[-1] == "classes n01, n02 are all called 'crane' and cannot be told apart"


def test_folders_that_are_no_data(tmp_path, folder):
    def refused(path, said):
        with pytest.raises(InputError) as error:
            load_data(path, 64, EvalOptions())
        assert said in str(error.value)

    refused(tmp_path / "none", "no such folder, and not 'demo'")
    (folder / "n03").mkdir()
    refused(folder, "class folder 'n03' has no pictures")
    (tmp_path / "flat").mkdir()
    picture(tmp_path / "flat/a.png")
    refused(tmp_path / "flat", "0 class folders; give 2 to")


@pytest.mark.parametrize("what", ["picture", "class", "folder", "names"])
def test_links_out_of_the_data_are_refused(folder, tmp_path, what):
    picture(tmp_path / "secret/x.png")
    (tmp_path / "names.txt").write_text("n01 a\nn02 b\n")
    target, link = {
        "picture": (tmp_path / "secret/x.png", folder / "n01/x.png"),
        "class": (tmp_path / "secret", folder / "n03"),
        "folder": (tmp_path / "secret", folder / "n01/more"),
        "names": (tmp_path / "names.txt", folder / "classnames.txt"),
    }[what]
    link.symlink_to(target)
    with pytest.raises(InputError, match=r"leads out of|is a link to a folder"):
        read_image_folder(folder)


def test_a_pipe_is_no_picture(folder):
    os.mkfifo(folder / "n01/pipe.png")
    (pipe,) = [picture for picture in read_image_folder(folder).labelled.pictures if "pipe" in picture.name]
    with pytest.raises(InputError, match="not a file"):
        pipe.open()


def test_a_link_within_the_data_is_followed(folder):
    (folder / "n02/x.png").symlink_to("../n01/b.png")
    assert len(read_image_folder(folder).labelled.pictures) == 4


def test_samples_are_nested_and_do_not_depend_on_the_order(folder):
    names = [f"n01/{index}.png" for index in range(100)]
    shuffled = random.Random(0).sample(names, 100)
    assert set(sample(shuffled, shuffled, 20)) == set(sample(names, names, 20)) < set(sample(names, names, 30))
    assert sample(names, names, 1000).sort() == names.sort()


def test_limits():
    pictures = tuple(FilePicture(None, f"{index}.png") for index in range(30))
    data = LabelledPictures(("a", "b"), (("a",), ("b",)), pictures, (0,) * 20 + (1,) * 10)
    assert data.limited(None) is data.limited_per_class(None) is data
    assert data.limited_per_class(12).labels == (0,) * 12 + (1,) * 10
    some = data.limited(5)
    assert len(some.pictures) == len(some.labels) == 5
    kept = {picture.name: label for picture, label in zip(data.pictures, data.labels, strict=True)}
    assert all(kept[picture.name] == label for picture, label in zip(some.pictures, some.labels, strict=True))
    assert data.without({"0.png"}).labels == (0,) * 19 + (1,) * 10


CAPTIONS = ["a dog", "a dog in snow", "a cat"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.tsv", "a.png\ta dog\nb/c.png\ta cat\na.png\ta dog in snow\n"),
        ("captions.tsv", "filepath\ttitle\r\na.png\ta dog\r\nb/c.png\ta cat\r\na.png\ta dog in snow\r\n"),
        (
            "captions.jsonl",
            '{"image": "a.png", "captions": ["a dog", "a dog in snow"]}\n\n{"image":"b/c.png","captions":["a cat"]}',
        ),
    ],
)
def test_captions(tmp_path, name, content):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b/c.png")
    (tmp_path / name).write_bytes(content.encode())
    data = read_captions(caption_file(tmp_path)).captioned
    assert [picture.name for picture in data.pictures] == ["a.png", "b/c.png"]
    assert {(caption, data.pictures[owner].name) for caption, owner in zip(data.captions, data.owners, strict=True)} == {
        ("a dog", "a.png"),
        ("a dog in snow", "a.png"),
        ("a cat", "b/c.png"),
    }
    left = data.without({"a.png"})
    assert (left.captions, left.owners, [p.name for p in left.pictures]) == (("a cat",), (0,), ["b/c.png"])
    assert len(data.limited(1).pictures) == 1
    assert set(data.limited(1).owners) == {0}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("captions.tsv", "a.png\tx\n../secret.png\ty\n", "line 2: '../secret.png' leads out of"),
        ("captions.tsv", "a.png\tx\nb/../../secret.png\ty\n", "leads out of"),
        ("captions.tsv", "a.png\tx\n/etc/passwd\ty\n", "leads out of"),
        ("captions.tsv", "a.png\tx\nlink.png\ty\n", "'link.png' leads out of"),
        ("captions.tsv", "a.png\tx\nb\ty\n", "'b' is no path of a picture"),
        ("captions.tsv", "a.png\tx\nb/\0c.png\ty\n", "is not a usable path"),
        ("captions.tsv", "a.png x\n", "line 1: 1 columns; give the picture's path, one tab, and the caption"),
        ("captions.tsv", "a.png\tx\ty\n", "line 1: 3 columns"),
        ("captions.tsv", "a.png\t  \n", "line 1: a caption of 0 characters"),
        ("captions.tsv", "a.png\tx\n", "1 pictures with 1 captions; give 2 pictures or more"),
        ("captions.tsv", "a.png\t" + "x" * 100_001, "a caption of 100001 characters"),
        ("captions.tsv", b"a.png\t\xff\n", "cannot be read as UTF-8 text"),
        ("captions.jsonl", '{"image": "a.png"}\n', 'line 1: not {"image": PATH, "captions": [TEXT, ...]}'),
        ("captions.jsonl", '{"image": "a.png", "captions": ["x"], "id": 1}\n', "unknown field `id`"),
        ("captions.jsonl", '{"image": "a.png", "captions": []}\n', "'a.png' has no captions"),
        ("captions.jsonl", "[" * 100_000, "line 1: not"),
    ],
)
def test_captions_that_cannot_be_used(tmp_path, name, content, said):
    data = tmp_path / "data"
    picture(data / "a.png")
    picture(data / "b/c.png")
    picture(tmp_path / "secret.png")
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    (data / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_captions(caption_file(data))
    assert said in str(error.value)


def test_two_files_of_captions(tmp_path):
    (tmp_path / "captions.tsv").touch()
    (tmp_path / "captions.jsonl").touch()
    with pytest.raises(InputError, match="has both"):
        caption_file(tmp_path)


def test_the_demo_is_deterministic_and_its_captions_are_distinct():
    first, second = demo_data(64), demo_data(64)
    assert first == second
    assert len(first.labelled.classes) == 64
    assert set(first.labelled.labels) == set(range(64))
    assert len(first.labelled.pictures) == 1000
    for drawn, label in zip(first.labelled.pictures, first.labelled.labels, strict=True):
        assert drawn.scene.colour in COLOURS
        assert f"{drawn.scene.colour} {drawn.scene.shape}" in first.labelled.classes[label]
    assert len(set(first.captioned.captions)) == len(first.captioned.captions) == 2 * len(first.captioned.pictures) == 400
    assert first.labelled.pictures[0].open().size == (64, 64)


def test_shipped_templates():
    assert template_sets() == ("general",)
    templates = read_templates("general")
    check_templates(templates)
    assert len(set(templates)) == len(templates) >= 10


def test_template_files(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n\n  a photo of {}  \n{} at night\n", "utf-8")
    assert read_templates(str(file)) == ("a photo of {}", "{} at night")
    for content, said in (("# none\n", "0 templates"), ("a photo\n", "exactly once"), ("{} {}\n", "exactly once")):
        file.write_text(content)
        with pytest.raises((InputError, UsageError), match=said):
            read_templates(str(file))
    with pytest.raises(InputError, match=r"no such file, and no set of that name \(general\)"):
        read_templates("imagenet")
