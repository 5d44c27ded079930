"""A stand-in for adb: devices and their files are folders in $STANDIN_HOME, and a device's shell is `sh` in one of them.

Texts are those of adb 35 (packages/modules/adb, client/ and transport.cpp). The file `scenario` says what goes wrong:

- disconnect: the cable is pulled while the runner runs          - nospace-push, readonly-push: the copy is refused
- cut, flip: an answer arrives cut off or with a changed byte    - flip-push, flip-pull: a file does
- deaf: no answer to the runner                                  - others are the runner's, see `executor_runner.py`
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(os.environ["STANDIN_HOME"])
ROOT = HOME / "root"
UNAUTHORIZED = (
    "adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
    "Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device."
)


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def devices():
    lines = (HOME / "devices").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def flipped(content):
    content = bytearray(content)
    content[len(content) // 2] ^= 0x04
    return bytes(content)


def shell(script, scenario):
    local = re.sub(r"(?<![\w/])/(data/local/tmp|sys/devices)", rf"{ROOT}/\1", script)
    runs = "--num_executions" in script
    local = re.sub(r"\S+/executor_runner (?=--)", f"{sys.executable} -S -E {HERE / 'executor_runner.py'} ", local)
    if runs and scenario == "deaf":
        time.sleep(60)
    environment = {**os.environ, "PATH": f"{HERE / 'device'}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", local], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    content = done.stdout
    if runs and scenario == "disconnect":
        (HOME / "devices").write_text("")
        content = content[: len(content) // 2]
    if runs and scenario == "cut":
        content = content[: len(content) // 2]
    if runs and scenario == "flip":
        content = flipped(content)
    sys.stdout.buffer.write(content)


def push(*arguments):
    *sources, target, scenario = arguments
    for source in sources:
        into_folder = (ROOT / target.lstrip("/")).is_dir()
        push_one(source, f"{target.rstrip('/')}/{Path(source).name}" if into_folder else target, scenario)


def push_one(source, target, scenario):
    name = Path(source).name
    said = f"adb: error: failed to copy '{source}' to '{target}': remote"
    if scenario == "nospace-push":
        fail(f"{said} couldn't write file: No space left on device\n{name}: 0 files pushed.")
    if scenario == "readonly-push":
        fail(f"{said} couldn't create file: Read-only file system\n{name}: 0 files pushed.")
    content = Path(source).read_bytes()
    (ROOT / target.lstrip("/")).write_bytes(flipped(content) if scenario == "flip-push" else content)
    print(f"{name}: 1 file pushed, 0 skipped. 35.1 MB/s ({len(content)} bytes in 0.002s)")


def pull(*arguments):
    *sources, target, scenario = arguments
    for source in sources:
        pull_one(source, Path(target, Path(source).name) if Path(target).is_dir() else Path(target), scenario)


def pull_one(source, target, scenario):
    file = ROOT / source.lstrip("/")
    if not file.exists():
        fail(f"adb: error: failed to stat remote object '{source}': No such file or directory")
    content = file.read_bytes()
    target.write_bytes(flipped(content) if scenario == "flip-pull" else content)
    print(f"{source}: 1 file pulled, 0 skipped. 30.0 MB/s ({len(content)} bytes in 0.002s)")


def main(arguments):
    scenario = (HOME / "scenario").read_text()
    with (HOME / "calls").open("a") as log:
        log.write(" ".join(arguments).replace("\n", " ") + "\n")
    if arguments == ["devices"]:
        if scenario == "no-server":
            fail(
                "* daemon not running; starting now at tcp:5037\nadb: failed to check server version: cannot connect to daemon"
            )
        print("List of devices attached")
        print("".join(f"{serial}\t{state}\n" for serial, state in devices().items()))
        return
    _, serial, command, *rest = arguments
    state = devices().get(serial)
    if state is None:
        fail(f"adb: device '{serial}' not found")
    if state == "unauthorized":
        fail(UNAUTHORIZED)
    if state != "device":
        fail(f"adb: device {state}")
    {"exec-out": shell, "push": push, "pull": pull}[command](*rest, scenario)


main(sys.argv[1:])
