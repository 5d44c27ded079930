"""What limits mean, how they are written, and what they are held against."""

from __future__ import annotations

import sys

import pytest
from msgspec import structs

from edgeclip.errors import InputError, UsageError
from profiles.budgets import Limit, check, limits_of, read_budgets
from tests.profiles.rows import estimated, measured, profile_of

IMAGE = measured(10.0)
TEXT = measured(4.0, tower="text", sha256="c" * 64, size_bytes=60_000_000, peak_memory_mb=350.0)
TWO = profile_of(IMAGE, TEXT)


def _held(text, profile=TWO, quantity="ms"):
    return check(limits_of({quantity: [text]}), profile)


def test_a_plain_number_is_for_each_row():
    image, text = _held("5")
    assert (image.found, image.passed) == (10.0, False)
    assert (text.found, text.passed) == (4.0, True)
    assert image.rows == ("executorch/xnnpack fp32 image 1 thread",)
    assert image.limit == "ms 5"
    assert image.unit == "ms"


@pytest.mark.parametrize(
    ("text", "found", "passed"),
    [
        ("image=10", 10.0, True),
        ("image=9.99", 10.0, False),
        ("text=4", 4.0, True),
        ("total=14", 14.0, True),
        ("total=13.9", 14.0, False),
    ],
)
def test_scopes(text, found, passed):
    (line,) = _held(text)
    assert (line.found, line.passed) == (found, passed)


def test_a_total_is_of_rows_that_ran_alike():
    rows = [measured(10.0 / n, threads=n) for n in (1, 2)] + [measured(4.0 / n, threads=n, tower="text") for n in (1, 2)]
    assert [line.found for line in _held("total=10", profile_of(*rows))] == [14.0, 7.0]


def test_a_total_of_two_schemes_is_refused():
    rows = [measured(10.0), measured(4.0, tower="text"), measured(5.0, scheme="w8")]
    with pytest.raises(UsageError, match="several of one tower"):
        _held("total=14", profile_of(*rows))


@pytest.mark.parametrize("text", ["20", "text=20"])
def test_a_tower_without_a_figure_is_no_pass(text):
    alone = structs.replace(profile_of(IMAGE), not_run={"executorch/xnnpack fp32 text": "the worker died"})
    with pytest.raises(UsageError, match=r"nothing to hold the text tower against \(.*the worker died\)"):
        _held(text, alone)
    (line,) = _held("image=20", alone)
    assert line.passed


def test_a_tower_that_another_artifact_has_a_figure_of_is_held():
    other = structs.replace(TWO, not_run={"coreml fp16 text": "Core ML is on macOS only"})
    assert [line.passed for line in _held("20", other)] == [True, True]


@pytest.mark.parametrize(("text", "found"), [("image=50", [40.0]), ("total=200", [100.0]), ("100", [40.0, 60.0])])
def test_megabytes_are_of_files(text, found):
    assert [line.found for line in _held(text, quantity="mb")] == found


def test_two_methods_of_one_file_count_once():
    both = profile_of(measured(1.0), measured(1.0, tower="text"))
    (line,) = _held("total=39", both, "mb")
    assert (line.found, line.passed) == (40.0, False)


def test_memory_of_two_processes_is_not_added_up():
    (line,) = _held("total=350", quantity="memory-mb")
    assert (line.found, line.passed) == (350.0, True)


def test_an_estimate_passes_only_with_all_of_its_range():
    profile = profile_of(estimated(2.0, 1.6, 2.5))
    assert not _held("2.4", profile)[0].passed
    (line,) = _held("2.5", profile)
    assert (line.found, line.passed) == (2.5, True)


@pytest.mark.parametrize(
    ("text", "quantity", "profile", "said"),
    [
        ("text=5", "ms", profile_of(IMAGE), "nothing on Example"),
        ("total=5", "ms", profile_of(IMAGE), "the other tower has no figure"),
        ("300", "memory-mb", profile_of(estimated(2.0, 1.6, 2.5)), "does not say it"),
    ],
)
def test_a_limit_that_nothing_can_be_held_against_is_an_error(text, quantity, profile, said):
    with pytest.raises(UsageError, match=said):
        _held(text, profile, quantity)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "above 0"),
        ("x", "above 0"),
        ("0", "above 0"),
        ("-1", "above 0"),
        ("nan", "above 0"),
        ("inf", "above 0"),
        ("image=", "above 0"),
        ("imag=3", "did you mean 'image'"),
        ("=3", "known: each, image, text, total"),
    ],
)
def test_what_is_no_limit(text, said):
    with pytest.raises(UsageError, match=said):
        limits_of({"ms": [text]})


def test_a_file_says_the_same_as_options(tmp_path):
    file = tmp_path / "budgets.toml"
    file.write_text("[ms]\nimage = 20\ntotal = 25.5\n[mb]\neach = 60\n[memory-mb]\ntext = 400\n")
    assert read_budgets(file) == limits_of(
        {"ms": ["image=20", "total=25.5"], "mb": ["60"], "memory-mb": ["text=400"]},
    )
    assert read_budgets(file)[0] == Limit("ms", "image", 20.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no budget"),
        (b"[ms]\n", "holds no budget"),
        (b"ms = 3", "is a table of"),
        (b"[seconds]\nimage = 3", "unknown budget 'seconds'"),
        (b"[ms]\nimages = 3", "did you mean 'image'"),
        (b"[ms]\nimage = '3'", "above 0"),
        (b"[ms]\nimage = true", "above 0"),
        (b"[ms]\nimage = -3", "above 0"),
        (b"[ms]\nimage = [3]", "above 0"),
        (b"[ms\n", "not TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 300_000, "larger than"),
    ],
)
def test_files_that_are_no_budgets(tmp_path, content, said):
    file = tmp_path / "budgets.toml"
    file.write_bytes(content)
    with pytest.raises((InputError, UsageError), match=said) as caught:
        read_budgets(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_budgets(tmp_path / "none.toml")


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="has tomllib")
def test_before_python_3_11_a_package_reads_toml():
    import tomli

    assert tomli.loads("a = 1") == {"a": 1}
