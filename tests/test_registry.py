"""Tables refuse duplicates and help with misses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeclip.errors import MissingPackageError, UsageError
from edgeclip.models import MODELS
from edgeclip.plugins import RUNTIMES, TARGETS, Plugin, reasons
from edgeclip.registry import Registry


def test_duplicates_are_refused():
    table = Registry[int]("number")
    table.add("one", 1)
    with pytest.raises(ValueError, match="'one' is registered twice"):
        table.add("one", 2)


def test_aliases_are_looked_up_in_any_case_and_not_listed():
    table = Registry[int]("number")
    table.add("one", 1, aliases=("Org/Uno",))
    assert (table["one"], table["org/uno"], "ORG/uno" in table, list(table)) == (1, 1, True, ["one"])
    with pytest.raises(ValueError, match="'org/UNO' is registered twice"):
        table.add("two", 2, aliases=("org/UNO",))


def test_models_go_by_their_hub_names():
    assert MODELS["wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M"].name == "tinyclip-vit-8m-16"
    assert all(MODELS[alias] is spec for spec in MODELS.values() for alias in spec.aliases)


@pytest.mark.parametrize(
    ("table", "name", "nearest"),
    [(MODELS, "mobileclip_s0", "mobileclip-s0"), (MODELS, "TinyCLIP", "tinyclip-demo"), (TARGETS, "core-ml", "coreml")],
)
def test_a_miss_suggests_the_nearest_and_lists_all(table, name, nearest):
    with pytest.raises(UsageError) as error:
        table[name]
    assert f"did you mean {nearest!r}?" in str(error.value)
    assert all(known in str(error.value) for known in table)


def test_a_miss_far_from_everything_only_lists():
    with pytest.raises(UsageError, match="unknown runtime 'zzz': known: executorch, coreml, mil, coreai, torch, qemu-arm64"):
        RUNTIMES["zzz"]


def test_a_plugin_says_what_to_install():
    plugin = Plugin("later", "nowhere:X", "", requires=("no_such_package_here",))
    assert not plugin.available
    with pytest.raises(MissingPackageError, match="later: package no_such_package_here is not installed: pip install"):
        plugin.load()


def test_a_plugin_says_where_its_packages_exist():
    plugin = Plugin("later", "nowhere:X", "", ("no_such_package_here",), extra="later", made_for="for one system")
    assert plugin.missing() == 'package no_such_package_here is not installed: pip install "edgeclip[later]" (for one system)'


def test_what_is_asked_for_by_name_is_tried_so_that_its_error_says_what_is_missing():
    plugin = Plugin("later", "nowhere:X", "", requires=("no_such_package_here",))
    assert plugin.offered("later")
    assert not plugin.offered("other")
    assert not plugin.offered()


def test_reasons_leave_out_what_is_here_and_what_is_on_request(monkeypatch):
    for name in ("coreai", "qemu-arm64"):
        monkeypatch.setitem(RUNTIMES._items, name, replace(RUNTIMES[name], requires=("no_such_package_here",)))
    said = '; coreai: package no_such_package_here is not installed: pip install "edgeclip[coreai]"'
    assert reasons(["torch", "coreai", "qemu-arm64"]).startswith(said)
    assert reasons(["torch", "qemu-arm64"]) == ""


def test_core_ml_itself_exists_on_macos_only(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(MissingPackageError, match="coreml: it exists on macOS only"):
        RUNTIMES["coreml"].load()
