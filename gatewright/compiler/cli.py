"""The command line. Exit status 0: done and equal; 1: a check failed; 2: unusable input; 3: our own defect."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewright import __version__
from gatewright.compiler.progress import FIRST_USE, Steps, first_use
from gatewright.errors import UserError

OUT = Console(highlight=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
ERR = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = lambda message, *_, **__: ERR.print(f"[yellow]warning:[/] {escape(str(message))}")
    try:
        options = parser().parse_args(arguments)
        return int(options.run(options))
    except UserError as error:
        ERR.print(f"[red]error:[/] {escape(str(error))}")
        return 2
    except KeyboardInterrupt:
        ERR.print("interrupted")
        return 130
    except BrokenPipeError:
        return 0
    except MemoryError:
        ERR.print("[red]error:[/] the model needs more memory than there is. Use a machine with more, or a smaller model.")
        return 2
    except Exception:
        return _defect(arguments)


def _defect(arguments: list[str]) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="gatewright-defect-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(f"gatewright {__version__}, Python {sys.version}\n{shlex.join(['gatewright', *arguments])}\n\n")
        file.write(traceback.format_exc())
    ERR.print(f"[red]internal error:[/] {escape(str(sys.exc_info()[1]))}\nThis is a defect of gatewright, not of your model. "
              f"Please report it with the file {file.name}")
    return 3


# -- commands ------------------------------------------------------------------------------------------------------------


def cmd_compile(o: argparse.Namespace) -> int:
    from gatewright.compiler.driver import compile_model
    from gatewright.compiler.project import check_target, write
    from gatewright.compiler.report import write_report
    from gatewright.compiler.report.terminal import print_summary

    check_target(Path(o.output))
    if ERR.is_terminal and first_use():
        ERR.print(FIRST_USE)
    with Steps(ERR) as steps:
        steps("compiling", 0.0)
        project = write(compile_model(o.model, _options(o), _dump(o.dump)), o.output)
        steps("writing the report", 0.9)
        report = write_report(project)
    if o.json:
        print(json.dumps(report["estimate"]))
    else:
        print_summary(report, OUT)
        OUT.print(f"\nDesign: {escape(o.output)}/design   Report: {escape(o.output)}/report.html"
                  f"\nNext:   gatewright verify {escape(shlex.quote(o.output))}")
    return 0


def _dump(folder: str | None) -> Callable[[str, str], None] | None:
    if folder is None:
        return None
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"the folder '{folder}' for --dump is in use", remedy="Give a new or empty folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder '{folder}' for --dump: {error.strerror}", remedy="Give another one") from None
    count = iter(range(100))

    def dump(step: str, text: str) -> None:
        (target / f"{next(count):02d}-{step}.txt").write_text(text, encoding="utf-8")

    return dump


def cmd_verify(o: argparse.Namespace) -> int:
    from gatewright.compiler.project import Project
    from gatewright.compiler.report import write_report
    from gatewright.compiler.verify import passed, verify, verify_all

    project = Project(Path(o.folder))
    with Steps(ERR) as steps:
        if o.level == "all":
            results = verify_all(project, o.vectors, o.data, progress=steps)
        else:
            results = [verify(project, o.level, o.vectors, o.data, progress=steps)]
        write_report(project)
    if o.json:
        values = [r.to_json() for r in results]
        print(json.dumps(values if o.level == "all" else values[0]))
    else:
        for r in results:
            _print_result(r)
    return 0 if passed(results) else 1


def _print_result(r: Any) -> None:
    colour = {"passed": "green", "failed": "red", "skipped": "yellow"}[r.status]
    clock = f", latency {r.latency_cycles} cycles, II {r.ii}" if r.latency_cycles else ""
    kinds = f" ({', '.join(f'{n} {kind}' for kind, n in r.stimulus.items())})" if r.stimulus else ""
    met = f"; {r.boundaries.met} of {r.boundaries.known} boundaries met on both sides" if r.boundaries and r.boundaries.known else ""
    counts = f"{r.vectors} vectors{kinds}, {r.mismatching_vectors} mismatching{clock}, {r.seconds:.1f} s{met}"
    text = "" if r.status == "skipped" else counts
    OUT.print(f"{r.level:<10} [{colour}]{r.status.upper()}[/]  {text}{'  ' + escape(r.reason) if r.reason else ''}")
    m = r.first_mismatch
    if m:
        OUT.print(f"           first: vector {m.vector}, output '{escape(m.output)}', element {m.element}: "
                  f"expected {m.expected}, got {m.got}" + (f"; first node that differs: '{escape(m.node)}'" if m.node else ""))


def cmd_run(o: argparse.Namespace) -> int:
    from gatewright.compiler.data import warn
    from gatewright.compiler.project import Project, write_atomically
    from gatewright.compiler.run import run
    from gatewright.ir.npz import npz_bytes

    with Steps(ERR) as steps:
        results = run(Project(Path(o.folder)), o.data, steps)
    outputs = results.outputs
    warn(results.warnings)
    write_atomically(Path(o.output), npz_bytes(outputs))
    if not o.quiet:
        samples, how = len(next(iter(outputs.values()))), "by the emulator" if results.emulated else "in Python"
        OUT.print(f"{samples} samples, computed {how}: {escape(', '.join(outputs))} written to {escape(o.output)}")
    return 0


def cmd_estimate(o: argparse.Namespace) -> int:
    from gatewright.compiler.driver import compile_model
    from gatewright.compiler.estimate.estimate import estimate
    from gatewright.compiler.project import Project

    path = Path(o.model)
    if path.is_dir():
        _no_options(o)
        project = Project(path)
        found = estimate(project.design, project.part, project.options.clock_ns)
    else:
        compiled = compile_model(path, _options(o))
        found = estimate(compiled.design, compiled.part, compiled.options.clock_ns)
    if o.json:
        print(json.dumps(found.to_json()))
    else:
        _print_resources(found)
    return 0


def cmd_synth(o: argparse.Namespace) -> int:
    from gatewright.compiler.project import Project
    from gatewright.compiler.report import write_report
    from gatewright.compiler.synthesis import synthesise_project

    project = Project(Path(o.folder))
    with Steps(ERR) as steps:
        steps("synthesising", 0.0)
        found = synthesise_project(project, o.part, progress=lambda text: steps(text, None))
        write_report(project)
    if o.json:
        print(json.dumps(found.to_json()))
    else:
        _print_resources(found)
    return 0


def _print_resources(r: Any) -> None:
    from gatewright.compiler.report import facts

    table = Table(title=f"{r.tool}, {r.part}", title_justify="left", box=None, pad_edge=False)
    for name in ("LUT", f"carry ({r.carry_unit})", "FF", "DSP", "BRAM", "longest stage", "latency", "II"):
        table.add_column(name, justify="right")

    def shown(v: Any) -> str:
        return "-" if v is None else f"{v:,}"

    path = "-" if r.critical_path_ns is None else f"{r.critical_path_ns:.2f} ns"
    latency = "-" if r.latency_cycles is None else f"{r.latency_cycles} cycles, {r.latency_ns:g} ns"
    table.add_row(shown(r.lut), shown(r.carry), shown(r.ff), shown(r.dsp), shown(r.bram), path, latency, shown(r.ii))
    OUT.print(table)
    if packed := facts.packed(r.to_json()):
        OUT.print(packed)
    OUT.print(f"Times are estimates before routing, by the delay model {r.delay_model}.")
    if r.layers:
        layers = Table(title="\nby node", title_justify="left", box=None, pad_edge=False)
        for name in ("node", "LUT", "FF", "adders", "bits", "cycles"):
            layers.add_column(name, justify="left" if name == "node" else "right", overflow="fold")
        for v in r.layers:
            layers.add_row(escape(v["name"]), *(shown(v[k]) for k in ("lut", "ff", "adders", "bits")),
                           f"{v['first_cycle']}-{v['last_cycle']}")
        OUT.print(layers)
    if r.stages:
        stages = Table(title="\nby stage", title_justify="left", box=None, pad_edge=False)
        for name in ("stage", "longest path, ns", "slack, ns", "FF behind it"):
            stages.add_column(name, justify="right")
        for v in r.stages:
            stages.add_row(shown(v["stage"]), f"{v['critical_path_ns']:.2f}", f"{v['slack_ns']:.2f}", shown(v["ff"]))
        OUT.print(stages)


def cmd_report(o: argparse.Namespace) -> int:
    from gatewright.compiler.project import Project
    from gatewright.compiler.report import write_report
    from gatewright.compiler.report.terminal import print_summary
    from gatewright.compiler.vendor import add_vendor_reports

    project = Project(Path(o.folder))
    add_vendor_reports(project, o.vendor)
    report = write_report(project)
    if o.json:
        print(json.dumps(report))
    else:
        print_summary(report, OUT)
        OUT.print(f"\nReport: {escape(o.folder)}/report.html")
    return 0


def cmd_inspect(o: argparse.Namespace) -> int:
    from gatewright.compiler.inspect import inspect_model, inspect_project

    path = Path(o.model)
    if path.is_dir():
        _no_options(o)
    found = inspect_project(path) if path.is_dir() else inspect_model(path, _options(o))
    if o.json:
        print(json.dumps(found.to_json()))
    else:
        found.print(OUT)
    return 0 if found.problem is None else 2


def cmd_doctor(o: argparse.Namespace) -> int:
    from gatewright.compiler.doctor import check

    findings = check()
    if o.json:
        print(json.dumps([asdict(f) for f in findings]))
        return 0
    table = Table(box=None, pad_edge=False)
    for name in ("tool", "", "version", "what for", "how to get it"):
        table.add_column(name, overflow="fold")
    for f in findings:
        table.add_row(escape(f.name), "[green]found[/]" if f.found else "[yellow]missing[/]", escape(f.version or "-"),
                      escape(f.what_for), "" if f.found else escape(f.remedy))
    OUT.print(table)
    return 0


# -- arguments -----------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are wrong input: one message, exit status 2."""

    def error(self, message: str) -> Any:
        raise UserError(message, remedy=f"See: {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    p = _Parser(prog="gatewright", description="Compiles trained networks (ONNX, QONNX) to FPGA firmware and proves the bits "
                "equal.", epilog="Exit status: 0 done and equal, 1 a check failed, 2 unusable input, 3 a defect of gatewright.")
    p.add_argument("--version", action="version", version=f"gatewright {__version__}")
    commands = p.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    c = command("compile", cmd_compile, "compile a model into a folder with Verilog, constraints, test bench and report")
    c.add_argument("model", metavar="MODEL.onnx")
    c.add_argument("-o", "--output", metavar="DIR", required=True, help="output folder: new, empty, or made by gatewright")
    c.add_argument("--dump", metavar="DIR", help="write the text form of the design after each pass")
    _compile_arguments(c)
    v = command("verify", cmd_verify, "compare every output bit with the model")
    v.add_argument("folder", metavar="DIR")
    v.add_argument("--level", default="rtl", choices=("reference", "netlist", "emulator", "rtl", "cocotb", "csim", "hls4ml", "finn", "all"),
                   help="reference: the ONNX file by an independent evaluator; netlist; emulator: the C++ that run uses; "
                   "rtl: Verilator (default); cocotb; csim: the HLS C++; hls4ml, finn: the projects for them")
    given = v.add_mutually_exclusive_group()
    given.add_argument("--vectors", type=_count, metavar="N", help="corners and random codes over the whole input types")
    given.add_argument("--data", metavar="X.npz", help="your inputs, and expected outputs if the file has them")
    r = command("run", cmd_run, "compute outputs bit for bit as the hardware does")
    r.add_argument("folder", metavar="DIR")
    r.add_argument("--data", metavar="X.npz", required=True)
    r.add_argument("-o", "--output", metavar="Y.npz", required=True)
    r.add_argument("--quiet", action="store_true")
    e = command("estimate", cmd_estimate, "resources and latency without synthesis, per node")
    e.add_argument("model", metavar="MODEL.onnx|DIR")
    _compile_arguments(e)
    s = command("synth", cmd_synth, "synthesise with Yosys: LUT, carry, FF, DSP, BRAM and the longest path")
    s.add_argument("folder", metavar="DIR")
    s.add_argument("--part", help="another part than the design's, for example lfe5u-45f")
    t = command("report", cmd_report, "summary on the terminal; DIR/report.html for the rest")
    t.add_argument("folder", metavar="DIR")
    t.add_argument("--vendor", nargs="+", default=[], metavar="FILE",
                   help="reports of Vivado, Vitis HLS, Quartus or nextpnr on this design, to be kept beside the estimate")
    i = command("inspect", cmd_inspect, "what gatewright makes of a model, node by node")
    i.add_argument("model", metavar="MODEL.onnx|DIR")
    _compile_arguments(i)
    d = command("doctor", cmd_doctor, "which tools are here, which are missing, how to get them")
    for sub in (c, v, e, s, t, i, d):
        sub.add_argument("--json", action="store_true", help="print one JSON value and nothing else")
    return p


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


def _compile_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--config", metavar="FILE.toml", help="the same options from a file; those given here win")
    p.add_argument("--part", help="device (default: xcvu13p-flga2577-2-e)")
    p.add_argument("--clock", type=float, metavar="NS", help="clock period in ns (default: 5)")
    p.add_argument("--latency", type=_count, metavar="N", help="clock cycles from input to output (default: as few as fit the clock)")
    p.add_argument("--effort", type=int, metavar="0..3", help="how long to search for smaller logic (default: 1)")
    p.add_argument("--dsp", type=int, metavar="N", help="how many DSP blocks products of two tensors may take (default: 0)")
    p.add_argument("--input-type", action="append", default=[], metavar="[NAME=]T", help="for example fixed<16,6>")
    p.add_argument("--output-type", action="append", default=[], metavar="[NAME=]T", help="for outputs without a quantiser")
    p.add_argument("--tensor-type", action="append", default=[], metavar="NAME=T", help="a quantiser for a tensor inside, or for weights")
    p.add_argument("--data", metavar="X.npz", help="choose types of inputs that have none from these samples (.npz or .npy)")
    p.add_argument("--hls4ml", metavar="FILE.yml", help="precisions of a float model, as hls4ml's configuration gives them")
    p.add_argument("--outputs", metavar="NAMES", help="tensors to compute, separated by commas (default: the model's outputs)")
    p.add_argument("--backend", metavar="NAMES", help="what to generate, separated by commas (default: verilog)")
    p.add_argument("--softmax", choices=("cut", "keep"), help="a Softmax at the very end: leave it away (default) or compute it")
    p.add_argument("--kernel", choices=("loops", "adders"), help="how the HLS targets write layers (default: loops)")
    p.add_argument("--reuse", type=_count, metavar="N", help="cycles per inference of a layer, HLS targets only (default: 1)")
    p.add_argument("--name", help="name of the design and of its top module (default: the file's)")


def _no_options(o: argparse.Namespace) -> None:
    """A folder has its options; others would be ignored, so they are refused."""
    single = (o.config, o.data, o.part, o.clock, o.latency, o.effort, o.dsp, o.hls4ml, o.outputs, o.backend, o.softmax, o.name,
              o.kernel, o.reuse)
    if o.input_type or o.output_type or o.tensor_type or any(v is not None for v in single):
        raise UserError(f"'{o.model}' is compiled already, with options of its own",
                        remedy="Leave the options away, or give the model file instead of the folder")


def _options(o: argparse.Namespace) -> Any:
    from gatewright.compiler.options import Options, hls4ml_configuration, with_config, with_type_arguments

    options = Options() if o.config is None else with_config(Options(), o.config)
    options = with_type_arguments(options, o.input_type, o.output_type, o.tensor_type)
    given = {"part": o.part, "clock_ns": o.clock, "latency": o.latency, "effort": o.effort, "dsp": o.dsp, "data": o.data,
             "softmax": o.softmax, "name": o.name, "kernel": o.kernel, "reuse": o.reuse,
             "hls4ml": o.hls4ml and hls4ml_configuration(o.hls4ml),
             "outputs": o.outputs and tuple(n.strip() for n in o.outputs.split(",") if n.strip()),
             "backend": o.backend and tuple(n.strip() for n in o.backend.split(",") if n.strip())}
    return replace(options, **{k: v for k, v in given.items() if v is not None})


if __name__ == "__main__":
    sys.exit(main())
