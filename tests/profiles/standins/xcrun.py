"""A stand-in for xcrun: devicectl and simctl as far as they are used. What they know is JSON in $STANDIN_HOME.

The shapes of both are those that public tools parse (Flutter, Expo, ios-deploy) from Xcode 16's. `scenario`: no-xcode, locked,
bad-json, silent, and the runner's.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(os.environ["STANDIN_HOME"])


def fail(text, status=1):
    print(text, file=sys.stderr)
    sys.exit(status)


def devicectl(words, scenario):
    if scenario == "locked":
        fail("ERROR: The device is locked. (com.apple.dt.CoreDeviceError error 4016)")
    known = json.loads((HOME / "devices.json").read_text())
    if words[:3] == ["device", "info", "details"]:
        for device in known["result"]["devices"]:
            if device["identifier"] == words[4] and device["connectionProperties"]["tunnelState"] == "disconnected":
                device["connectionProperties"]["tunnelState"] = "connected"
        (HOME / "devices.json").write_text(json.dumps(known))
    if scenario != "silent":
        Path(words[-1]).write_text(json.dumps(known)[: -20 if scenario == "bad-json" else None])


def simctl(words, scenario):
    if words[:2] == ["list", "devices"]:
        print((HOME / "simulators.json").read_text()[: -20 if scenario == "bad-json" else None])
        return
    _, udid, _, *rest = words
    listed = json.loads((HOME / "simulators.json").read_text())["devices"]
    if not any(one["udid"] == udid and one["state"] == "Booted" for group in listed.values() for one in group):
        fail(
            "An error was encountered processing the command (domain=com.apple.CoreSimulator.SimError, code=405):\n"
            "Unable to lookup in current state: Shutdown",
            149,
        )
    os.execv(sys.executable, [sys.executable, "-S", "-E", str(HERE / "executor_runner.py"), *rest])


def main(words):
    scenario = (HOME / "scenario").read_text()
    with (HOME / "calls").open("a") as log:
        log.write(" ".join(words) + "\n")
    if scenario == "no-xcode":
        fail(f'xcrun: error: unable to find utility "{words[0]}", not a developer tool or in PATH', 72)
    {"devicectl": devicectl, "simctl": simctl}[words[0]](words[1:], scenario)


main(sys.argv[1:])
