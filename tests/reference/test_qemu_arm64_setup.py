"""Setting the emulation up, from a small archive of our own; and the libraries that stand in for CUDA's."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgeclip.errors import HubError, InputError, NotRunnableError, UsageError
from edgeclip.manifest import file_sha256
from edgeclip.progress import silent
from edgeclip.reference.qemu_arm64 import debian, download, elf, parts, place, setup
from edgeclip.reference.qemu_arm64.parts import Wheel

ARCHIVE = "https://archive.test/debian"
NO_KEY = Path("/no/keyring")


def package(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A `.deb` as dpkg-deb writes them."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    found = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", data.getvalue())):
        found += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
        )
    return found


class Archive:
    """A Debian archive in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, architecture: str, packages: dict[str, bytes], suite: str = parts.SUITE) -> None:
        stanzas = []
        for name, content in packages.items():
            path = f"pool/{architecture}/{name}_1.deb"
            self.files[f"{ARCHIVE}/{path}"] = content
            digest = hashlib.sha256(content).hexdigest()
            stanzas.append(f"Package: {name}\nVersion: 1\nFilename: {path}\nSize: {len(content)}\nSHA256: {digest}\n")
        index = lzma.compress("\n".join(stanzas).encode())
        self.files[f"{ARCHIVE}/dists/{suite}/main/binary-{architecture}/Packages.xz"] = index
        self._release(suite)

    def _release(self, suite: str) -> None:
        base = f"{ARCHIVE}/dists/{suite}/"
        lines = [
            f" {hashlib.sha256(content).hexdigest()} {len(content):>8} {name.removeprefix(base)}"
            for name, content in self.files.items()
            if name.startswith(base) and name.endswith(".xz")
        ]
        text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: x\nMD5Sum:\n 00 1 main/x\nSHA256:\n" + "\n".join(
            lines
        )
        self.files[f"{base}InRelease"] = (text + "\n-----BEGIN PGP SIGNATURE-----\nodd\n").encode()

    def open(self, url: str, timeout: float) -> io.BytesIO:
        self.asked.append(url)
        if url not in self.files:
            raise OSError("no such host")
        return io.BytesIO(self.files[url])


@pytest.fixture
def archive(monkeypatch):
    found = Archive()
    monkeypatch.setattr("urllib.request.urlopen", found.open)
    return found


def unpack(archive: Archive, folder: Path, name: str = "one") -> None:
    found = debian.index(ARCHIVE, parts.SUITE, "arm64", NO_KEY)[name]
    with silent("") as task:
        debian.unpack(found, folder / "downloads", folder / "out", task, 0, 1)


def test_a_package_is_unpacked_without_what_runs_nothing(archive, tmp_path):
    files = {"./usr/lib/liba.so.1.2": b"a", "./usr/bin/tool": b"t", "./usr/share/doc/x": b"d", "./etc/passwd": b"p"}
    archive.add("arm64", {"one": package(files, {"./usr/lib/liba.so.1": "liba.so.1.2", "./usr/lib/evil": "/etc/shadow"})})
    unpack(archive, tmp_path)
    out = tmp_path / "out"
    assert {str(path.relative_to(out)) for path in out.rglob("*") if not path.is_dir()} == {
        "usr/lib/liba.so.1.2",
        "usr/lib/liba.so.1",
        "usr/bin/tool",
    }
    assert (out / "usr/lib/liba.so.1").read_bytes() == b"a"
    assert (out / "usr/bin/tool").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("files", "links"),
    [({"./usr/lib/../../../evil": b"x"}, {}), ({"usr/lib/out/evil": b"x"}, {"./usr/lib/out": "../../../.."})],
)
def test_no_package_leaves_its_folder(archive, tmp_path, files, links):
    folder = tmp_path / "a/b/c"
    content = package({}, links)
    archive.add("arm64", {"one": content, "two": package(files)})
    unpack(archive, folder)
    if links:
        with pytest.raises(InputError, match="leads out of the package"):
            unpack(archive, folder, "two")
    else:
        unpack(archive, folder, "two")
    assert not list(tmp_path.rglob("evil"))


def test_what_is_downloaded_is_kept_and_what_is_damaged_is_not(archive, tmp_path):
    archive.add("arm64", {"one": package({"./usr/lib/a": b"a"})})
    url = f"{ARCHIVE}/pool/arm64/one_1.deb"
    for _ in range(2):
        unpack(archive, tmp_path)
    assert archive.asked.count(url) == 1
    (tmp_path / "downloads/one_1.deb").write_bytes(b"half of it")
    unpack(archive, tmp_path)
    assert archive.asked.count(url) == 2


def test_a_package_that_is_not_the_indexed_one_is_refused(archive, tmp_path):
    archive.add("arm64", {"one": package({"./usr/lib/a": b"a"})})
    archive.files[f"{ARCHIVE}/pool/arm64/one_1.deb"] += b"x"
    with pytest.raises(HubError, match=r"one_1\.deb: has another hash than it should"):
        unpack(archive, tmp_path)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_an_index_that_is_not_the_released_one_is_refused(archive):
    archive.add("arm64", {"one": b"x"})
    archive.files[f"{ARCHIVE}/dists/{parts.SUITE}/main/binary-arm64/Packages.xz"] += b"x"
    with pytest.raises(HubError, match=r"Packages\.xz: is not what InRelease says"):
        debian.index(ARCHIVE, parts.SUITE, "arm64", NO_KEY)


def test_a_release_that_nobody_vouches_for_is_refused(archive):
    archive.add("arm64", {"one": b"x"})
    plain = ARCHIVE.replace("https", "http")
    archive.files[f"{plain}/dists/{parts.SUITE}/InRelease"] = archive.files[f"{ARCHIVE}/dists/{parts.SUITE}/InRelease"]
    with pytest.raises(HubError, match="cannot be trusted"):
        debian.index(plain, parts.SUITE, "arm64", NO_KEY)


def test_a_forged_signature_is_refused(archive, monkeypatch, tmp_path):
    archive.add("arm64", {"one": b"x"})
    (tmp_path / "key").touch()
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    with pytest.raises(HubError, match="is not signed by a key of"):
        debian.index(ARCHIVE, parts.SUITE, "arm64", tmp_path / "key")


def test_without_a_network_the_address_and_the_way_out_are_named(archive):
    with pytest.raises(
        HubError, match=r"https://archive\.test/.*InRelease: cannot be fetched \(no such host\): is there a net"
    ):
        debian.index(ARCHIVE, parts.SUITE, "arm64", NO_KEY)


def test_a_download_that_breaks_off_leaves_nothing(archive, tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise ConnectionResetError(104, "Connection reset by peer")
            return super().read(3)

    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Broken(b"content"))
    with pytest.raises(HubError, match="Connection reset by peer"):
        download.fetch("https://x.test/file", tmp_path / "file", "0" * 64, lambda received: None)
    assert list(tmp_path.iterdir()) == []


def wheel(path: Path) -> Wheel:
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("torch/__init__.py", "")
        content.writestr("torch/include/x.h", "")
    return Wheel("torch", "1.0", path.name, file_sha256(path), 0.1, ("torch/include/*",))


@pytest.fixture
def small(archive, monkeypatch, tmp_path):
    """A set-up of one package on each side and one wheel, with all that is too slow for here left out."""
    for architecture, names in ((parts.HOST, parts.HOST_PACKAGES), (parts.GUEST, parts.GUEST_PACKAGES)):
        archive.add(architecture, {name: package({f"./usr/lib/{name}": architecture.encode()}) for name in names})
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parts, "WHEELS", (wheel(tmp_path / "torch-1.0-py3-none-any.whl"),))
    monkeypatch.setattr(parts, "KEYRING", str(NO_KEY))
    monkeypatch.setattr(place, "unsuitable", lambda: None)
    monkeypatch.setattr(setup, "_stand_ins", lambda site, guest: None)
    monkeypatch.setattr(setup, "_try", lambda root: None)
    downloads = place.folder() / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "torch-1.0-py3-none-any.whl").write_bytes((tmp_path / "torch-1.0-py3-none-any.whl").read_bytes())
    return archive


def test_a_set_up_is_whole_and_made_once(small):
    root = setup.set_up(archive=ARCHIVE)
    assert place.is_ready()
    assert (root / "host/usr/lib/qemu-user").read_bytes() == b"amd64"
    assert (root / "guest/usr/lib/libc6").read_bytes() == b"arm64"
    assert (root / "site/torch/__init__.py").is_file()
    assert not (root / "site/torch/include").exists()
    assert not (root / "downloads").exists()
    small.asked.clear()
    assert setup.set_up(archive=ARCHIVE) == root
    assert small.asked == []


def test_a_set_up_goes_on_where_it_stopped(small, monkeypatch):
    missing = f"{ARCHIVE}/pool/arm64/zlib1g_1.deb"
    content = small.files.pop(missing)
    with pytest.raises(HubError, match=r"zlib1g_1\.deb: cannot be fetched"):
        setup.set_up(archive=ARCHIVE)
    assert not place.is_ready()
    assert {path.name for path in place.folder().iterdir()} == {"downloads", "host"}  # no half of `guest`
    small.files[missing] = content
    small.asked.clear()
    setup.set_up(archive=ARCHIVE)
    assert [url for url in small.asked if "/pool/" in url] == [missing]


def test_a_runtime_that_does_not_start_is_no_set_up(small, monkeypatch):
    def fails(root):
        raise NotRunnableError("it does not start")

    monkeypatch.setattr(setup, "_try", fails)
    with pytest.raises(NotRunnableError):
        setup.set_up(archive=ARCHIVE)
    assert not place.is_ready()


def test_a_suite_without_a_package_is_said(small):
    small.add(parts.HOST, {"libc6": package({})})
    with pytest.raises(HubError, match=r"bookworm has no qemu-user, .* for amd64"):
        setup.set_up(archive=ARCHIVE)


def test_other_parts_are_another_set_up(small, monkeypatch):
    setup.set_up(archive=ARCHIVE)
    monkeypatch.setattr(parts, "CALLED", ())
    assert not place.is_ready()


def test_wheels_come_by_pip_with_their_hash(tmp_path, monkeypatch):
    asked = []

    def pip(command, **options):
        asked.append((command, Path(command[-1]).read_text()))
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: No matching distribution found for torch\n")

    monkeypatch.setattr("subprocess.run", pip)
    one = wheel(tmp_path / "torch-1.0-py3-none-any.whl")
    assert setup._wheel(one, tmp_path).read_bytes()  # there already
    assert asked == []
    (tmp_path / one.file).write_bytes(b"damaged")
    with pytest.raises(HubError, match=r"torch 1\.0: pip cannot download it \(ERROR: No matching distribution"):
        setup._wheel(one, tmp_path)
    ((command, requirement),) = asked
    assert {"--require-hashes", "--no-deps", "--platform=manylinux_2_28_aarch64"} <= set(command)
    assert requirement == f"torch==1.0 --hash=sha256:{one.sha256}\n"


def test_a_machine_that_cannot_emulate_downloads_nothing(archive, monkeypatch):
    monkeypatch.setattr(place, "unsuitable", lambda: "it is a toaster")
    with pytest.raises(UsageError, match="qemu-arm64: it is a toaster"):
        setup.set_up()
    assert archive.asked == []


def test_what_is_pinned_is_what_the_project_asks_for():
    """A .pte is checked on the runtime of the release that made it."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    for one in parts.WHEELS:
        if one.name in ("torch", "executorch"):
            major, minor = one.version.split(".")[:2]
            assert f'"{one.name}>={major}.{minor},<{major}.{int(minor) + 1}"' in text


class Loader:
    """What a dynamic loader sees of a library: its segments, by the System V ABI, without a look at sections."""

    def __init__(self, content: bytes) -> None:
        self.memory = bytearray(content)
        assert content[:4] == b"\x7fELF"
        self.machine = struct.unpack_from("<H", content, 18)[0]
        offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
        segments = [struct.unpack_from("<IIQQQQQQ", content, offset + size * index) for index in range(count)]
        (load,) = (one for one in segments if one[0] == 1)
        assert load[5] == len(content)
        self.memory.extend(bytes(load[6] - load[5]))
        (dynamic,) = (one for one in segments if one[0] == 2)
        entries = struct.iter_unpack("<qQ", self.memory[dynamic[3] : dynamic[3] + dynamic[5]])
        self.dynamic = dict(entries)
        for place_, info, addend in struct.iter_unpack("<QQq", self.at(self.dynamic[7], self.dynamic[8])):
            assert info == 1027
            struct.pack_into("<Q", self.memory, place_, addend)

    def at(self, place_: int, size: int) -> bytes:
        return bytes(self.memory[place_ : place_ + size])

    def text(self, place_: int) -> str:
        return self.memory[place_ : self.memory.index(0, place_)].decode()

    def find(self, name: str) -> int | None:
        """The address of a symbol, through the hash table."""
        value = 0
        for byte in name.encode():
            value = (value << 4) + byte
            if high := value & 0xF0000000:
                value ^= high >> 24
            value &= 0x0FFFFFFF
        table = self.dynamic[4]
        buckets, _ = struct.unpack("<II", self.at(table, 8))
        index = struct.unpack("<I", self.at(table + 8 + 4 * (value % buckets), 4))[0]
        while index:
            fields = struct.unpack("<IBBHQQ", self.at(self.dynamic[6] + 24 * index, 24))
            if self.text(self.dynamic[5] + fields[0]) == name:
                assert fields[3]
                return fields[4]
            index = struct.unpack("<I", self.at(table + 8 + 4 * (buckets + index), 4))[0]
        return None


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_stand_in_has_its_symbols(count):
    symbols = [f"_ZN2at{index}symbolEv" for index in range(count)]
    library = Loader(elf.empty_library("libx.so.1", symbols))
    assert library.machine == 183
    assert library.text(library.dynamic[5] + library.dynamic[14]) == "libx.so.1"
    places = [library.find(name) for name in symbols]
    assert None not in places
    assert len(set(places)) == count
    assert all(library.at(place_, 32) == bytes(32) for place_ in places)
    assert library.find("another") is None


def test_a_stand_in_names_classes_and_returns_references():
    library = Loader(elf.empty_library("libx.so", ["_ZTIN2at4CudaE", "data"], ["function"]))
    information = library.find("_ZTIN2at4CudaE")
    assert library.text(struct.unpack("<Q", library.at(information + 8, 8))[0]) == "N2at4CudaE"
    code = library.find("function")
    adr, ret = struct.unpack("<II", library.at(code, 8))
    assert ret == 0xD65F03C0
    assert adr & 0x9F00001F == 0x10000000  # adr x0
    offset = (adr >> 5 & 0x7FFFF) << 2 | adr >> 29 & 3
    assert library.at(code + offset, 8) == bytes(8)
    assert code + offset not in (library.find("data"), information)


def test_symbols_of_a_real_library_are_found():
    """Against the loader itself."""
    import ctypes

    import torch

    path = Path(torch.__file__).parent / "lib/libc10.so"
    names = elf.defined_symbols(path)
    library = ctypes.CDLL(str(path))
    assert len(names) > 500
    own = sorted(name for name in names if name.startswith("_ZN3c10"))
    assert all(hasattr(library, name) for name in own[:200])


def test_a_file_that_is_no_library_is_refused(tmp_path):
    (tmp_path / "x.so").write_text("no library, but some text")
    with pytest.raises(InputError, match="is not a 64-bit"):
        elf.defined_symbols(tmp_path / "x.so")


def test_the_record_of_a_set_up_is_json():
    assert json.loads(json.dumps(place.stamp())) == place.stamp()
