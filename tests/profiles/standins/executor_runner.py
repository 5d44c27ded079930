"""A stand-in for ExecuTorch's executor_runner: its flags, its log, its ETDump; times are drawn, embeddings looked up.

The log is worded as that of executorch's examples/portable/executor_runner/executor_runner.cpp; with `release` 1.3 in
$STANDIN_HOME as before it printed a line per iteration. `scenario`: see the branches in `main`.
"""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(os.environ["STANDIN_HOME"])
FLAGS = {
    "cpu_threads": ("Number of CPU threads for inference.", "int32", "-1"),
    "etdump_path": ("Write ETDump data to this path.", "string", '"model.etdump"'),
    "inputs": ("Comma-separated list of input files", "string", '""'),
    "method_name": ("Name of the method to run.", "string", '""'),
    "model_path": ("Model serialized in flatbuffer format.", "string", '"model.pte"'),
    "num_executions": ("Number of times to run the model.", "uint32", "1"),
    "output_file": ("Base name of output file.", "string", '""'),
    "print_output": ("Output printing mode", "string", '"summary"'),
}


def log(level, line, text, file="executor_runner.cpp"):
    print(f"{level} 00:00:00.0{line:05d} executorch:{file}:{line}] {text}", file=sys.stderr, flush=True)


def event(name, start, end, number=-1):
    return {"profile_event": {"name": name, "start_time": start, "end_time": end, "delegate_debug_id_int": number}}


def etdump(load, times, path):
    """Written by the flatc and the schema that the executorch package carries, as the runtime's own writer lays it out."""
    loading = [event("Method::init", 1_500, load), event("Program::load_method", 1_000, 1_000 + load)]
    blocks = [{"name": "Default", "events": loading}]
    clock = 1_000 + load + 50_000
    for spent in times:
        inner = [event(f"Convolution (NHWC, F32) IGEMM #{n}", clock + n * 1_000, clock + n * 1_000 + 900, n) for n in range(3)]
        kernel = event("native_call_embedding.out", clock + 4_000, clock + 5_000)
        call = event("DELEGATE_CALL", clock, clock + 3_950)
        own = event("OPERATOR_CALL", clock + 3_990, clock + 5_010)
        whole = event("Method::execute", clock, clock + spent)
        blocks.append({"name": "Execute", "events": [*inner, call, kernel, own, whole]})
        clock += spent + 30_000
    root = Path(os.environ["STANDIN_EXECUTORCH"])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "dump.json")
        source.write_text(json.dumps({"version": 0, "run_data": blocks}))
        schema = root / "devtools/etdump/etdump_schema_flatcc.fbs"
        flatc = root / "data/bin/flatc"
        words = [flatc, "--binary", "--size-prefixed", "-o", folder, schema, source]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        path.write_bytes(Path(folder, "dump.etdp").read_bytes())


def main():
    scenario, release = ((HOME / name).read_text() for name in ("scenario", "release"))
    given = dict(re.fullmatch(r"--(\w+)(?:=(.*))?", word).groups() for word in sys.argv[1:])
    known = {name: FLAGS[name] for name in FLAGS if not (scenario == "no-tracer" and name == "etdump_path")}
    if "help" in given:
        print("executor_runner: Warning: SetUsageMessage() never called\n\n  Flags from /executorch/executor_runner.cpp:")
        print("".join(f"    -{name} ({text}) type: {kind} default: {value}\n" for name, (text, kind, value) in known.items()))
        return 1
    executions, threads = int(given["num_executions"]), int(given["cpu_threads"])
    log("I", 157, f"Resetting threadpool with num threads = {threads}")
    log("I", 218, f"Model file {given['model_path']} is loaded.")
    if scenario == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if scenario == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if scenario == "no-backend":
        log("E", 60, "Backend XnnpackBackend is not registered.", "method.cpp")
        log("F", 300, "In function main(), assert failed (method.ok()): Loading of method forward failed with status 0x20")
        os.kill(os.getpid(), signal.SIGABRT)
    if scenario == "no-kernel":
        log("E", 730, "Missing operator: [0] quantized_decomposed::embedding_byte.out", "method.cpp")
        os.kill(os.getpid(), signal.SIGABRT)
    draw = random.Random(f"{executions} {threads}")
    slow = 5_000_000 if scenario != "noisy" else 5_000_000 * draw.choice([1, 2])
    times = [int(slow / threads * draw.uniform(0.995, 1.005)) for _ in range(executions)]
    times[0] *= 3
    load = int(40_000_000 * draw.uniform(0.9, 1.1))
    outer = [spent + draw.randrange(200, 2_000) for spent in times]
    if release != "1.3":
        log("I", 480, f"Model loaded in {(load + 2_000_000) / 1e6:.6f} ms.")
        for number, spent in enumerate(outer, start=1):
            log("I", 590, f"Iteration {number} of {executions}: {spent / 1e6:.6f} ms")
    factor = 10 if scenario == "two-clocks" else 1
    said = executions + (scenario == "miscounted")
    if scenario != "no-log":
        log("I", 610, f"Model executed successfully {said} time(s) in {factor * sum(outer) / 1e6:.6f} ms.")
    log("I", 620, "1 outputs: ")
    key = hashlib.sha256(Path(given["inputs"]).read_bytes()).hexdigest()
    answer = (HOME / "answers" / key).read_bytes()
    if scenario == "wrong-numbers":
        answer = answer[32:] + answer[:32]
    Path(f"{given['output_file']}-0.bin").write_bytes(answer)
    etdump(load, times, Path(given["etdump_path"]))
    log("I", 130, f"ETDump written to file '{given['etdump_path']}'.")
    return 0


sys.exit(main())
