# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures correctly; the size of the figures is not tested."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench import bytecode
from bench.__main__ import main
from bench.arrival import measure_arrivals
from bench.command import time_starts, watch
from bench.discovery import DOMAINS, discover
from bench.errors import BenchError
from bench.guest_writes import NO_DAEMON, STOPPED, measure_guest_writes
from bench.load import start_load
from bench.neighbours import KINDS, measure_neighbours
from bench.process_stats import read_cpu_ns, read_writes
from bench.scale import measure_scale
from bench.scrape import measure_scrapes
from bench.servers import BATCHED, UNBATCHED, VMPOWERD, start_reference
from bench.verification import GROUPS, measure_verification
from bench.workspace import make_workspace
from orchestrator.channel.protocol import GENERATION_464
from orchestrator.power.sysfs import CPU_DIR

CHANNELS = 3
SIZE = GENERATION_464.size_bytes


@pytest.mark.parametrize("is_batched", [False, True])
def test_the_reference_answers_every_request_and_sets_the_frequencies(
    *, is_batched: bool
) -> None:
    with (
        make_workspace(channels=CHANNELS, per_domain=2, cpus=CHANNELS) as workspace,
        start_load(workspace) as load,
        start_reference(workspace, is_batched=is_batched) as server,
    ):
        load.wait_until_served()
        writes = read_writes(server.serving_pid())
        run = load.round_trips(0.05)
        streamed = load.stream(0.05)
        load.check_frequencies()
        assert run.lost == streamed.lost == 0
        assert 0 < run.p50_ns <= run.p99_ns <= run.p999_ns
        assert streamed.answers > CHANNELS
        if writes is not None:
            written = read_writes(server.serving_pid())
            # Every request changed the frequency.
            assert written == writes + run.requests + streamed.requests
        assert read_cpu_ns(server.serving_pid()) > 0


def test_a_wrong_frequency_is_noticed() -> None:
    with (
        make_workspace(channels=CHANNELS, per_domain=1, cpus=CHANNELS) as workspace,
        start_load(workspace) as load,
        start_reference(workspace, is_batched=False),
    ):
        load.wait_until_served()
        load.round_trips(0.01)
        cpufreq = workspace.tree / CPU_DIR / "cpufreq"
        (cpufreq / "policy2" / "scaling_setspeed").write_text("1\n")
        with pytest.raises(BenchError, match="channel 2 requested"):
            load.check_frequencies()


def test_an_abandoned_answer_may_arrive_during_a_run() -> None:
    is_served = threading.Event()
    with (
        make_workspace(channels=1, per_domain=1, cpus=1) as workspace,
        start_load(workspace) as load,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.connect(str(workspace.sockets / "0"))
        serving = threading.Thread(target=_serve_late, args=(server, is_served))
        serving.start()
        load.wait_until_served()
        is_served.set()
        assert load.round_trips(0.05).answers > 1
        assert load.stream(0.05).answers > 1
    serving.join()


def _serve_late(server: socket.socket, is_served: threading.Event) -> None:
    """Answer the first of three requests, later the other two, and then all at once."""
    with contextlib.suppress(OSError):
        received = b""
        while len(received) < 4 * SIZE:  # CONNECT, a request, and it again, twice
            received += server.recv(4 * SIZE - len(received))
        answer = received[-SIZE:]
        server.sendall(answer)
        is_served.wait()
        server.sendall(answer * 2)
        while packets := server.recv(1 << 16):
            server.sendall(packets)


def test_a_server_that_dies_is_an_error() -> None:
    with (
        make_workspace(channels=1, per_domain=1, cpus=1) as workspace,
        start_load(workspace) as load,
    ):
        with start_reference(workspace, is_batched=True):
            load.wait_until_served()
        with pytest.raises(BenchError, match="load generator ended"):
            load.round_trips(0.01)


def test_a_quick_run_has_all_figures_of_all_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--quick", "--only", "k4", "--json", str(figures)]
    assert main(arguments) == 0
    document = json.loads(figures.read_text())
    (comparison,) = document["comparisons"]
    assert [exchange["server"] for exchange in comparison["exchanges"]] == [
        VMPOWERD,
        UNBATCHED,
        BATCHED,
    ]
    for exchange in comparison["exchanges"]:
        for run in exchange["round_trips"]:
            assert 0 < run["p50_us"] <= run["p99_us"] <= run["p999_us"]
            assert run["cpu_us_per_request"] > 0
            # Each request changed a grant: one write for each. On a busy machine an
            # answer comes late, and the repeated request changes nothing.
            writes = run["writes_per_request"]
            assert writes is None or 0.5 < writes < 1.01
        assert all(run["requests_per_s"] > 0 for run in exchange["streams"])
    assert len(document["aims"]) == 3
    assert "4 channels, discovered" in capsys.readouterr().out


def test_the_limits_path_is_measured_beside_the_same_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    assert main(["--quick", "--only", "k1-limits", "--json", str(figures)]) == 0
    document = json.loads(figures.read_text())
    (comparison,) = document["comparisons"]
    assert (comparison["channels"], comparison["mechanism"]) == (1, "limits")
    for exchange in comparison["exchanges"]:
        # Two limits, or one scaling_setspeed.
        writes = 2 if exchange["server"] == VMPOWERD else 1
        for run in exchange["round_trips"]:
            writes_per_request = run["writes_per_request"]
            assert writes_per_request is None or (
                writes / 2 < writes_per_request < writes + 0.01
            )
    assert all("at K = 1, limits, " in aim["what"] for aim in document["aims"])
    assert "1 channel, limits, discovered" in capsys.readouterr().out


def test_channels_beyond_the_test_driver_are_posted(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    assert main(["--quick", "--only", "k64", "--json", str(figures)]) == 0
    (comparison,) = json.loads(figures.read_text())["comparisons"]
    assert comparison["entry"] == "handed in"
    assert comparison["channels"] == 64


def test_running_domains_are_discovered_and_served() -> None:
    discovery = discover()
    assert discovery.domains == DOMAINS
    assert 0 < discovery.connected_ms <= discovery.obeyed_ms


@pytest.mark.rig
def test_a_guest_writes_whatever_is_stopped() -> None:
    found = measure_guest_writes(rounds=1)
    assert [one.stopped for one in found] == [*STOPPED, NO_DAEMON]
    for one in found:
        assert len(one.wall_s) == len(one.cpu_s) == 1
        assert one.fastest_s > 0


def test_the_command_is_measured() -> None:
    assert all(start_ms > 0 for start_ms in time_starts(2))
    watching = watch(3.0, vcpus=16)
    assert watching.vcpus == 16
    assert watching.top_cpu_s > 0
    assert watching.daemon_cpu_s > 0


def test_scrapes_are_measured() -> None:
    scrape = measure_scrapes(2, vcpus=16)
    assert (scrape.vcpus, len(scrape.took_ms), len(scrape.cpu_ms)) == (16, 2, 2)
    assert scrape.series > 16 * 2 + 16 * 2
    assert scrape.size_bytes > scrape.series
    assert min(scrape.took_ms) > 0


def test_domains_that_start_are_noticed() -> None:
    for arrival in measure_arrivals(2):
        assert 0 < arrival.connected_ms <= arrival.obeyed_ms


def test_good_channels_are_measured_beside_bad_ones() -> None:
    quiet, *bad = measure_neighbours(rounds=2, slice_s=0.05)
    assert [one.kind for one in (quiet, *bad)] == [*KINDS]
    assert all(run.flood_mb_per_s == 0 for run in quiet.runs)
    for neighbour in bad:
        assert len(neighbour.runs) == 2
        for run in neighbour.runs:
            assert run.flood_mb_per_s > 0.1
            assert 0 < run.p50_us <= run.p99_us


def test_the_cost_of_verifying_clock_groups_is_measured() -> None:
    found = measure_verification(turns=2)
    assert found.groups == GROUPS
    assert 0 < found.reads_us < found.drift_us
    assert found.limits_us > 0


def test_programs_start_from_bytecode_whatever_the_environment_forbids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "none"))
    bytecode.provide(tmp_path)
    show = (
        "import aiohttp, orchestrator.daemon as daemon;"
        " print(aiohttp.__cached__, daemon.__cached__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, check=True
    )
    for word in done.stdout.split():
        assert Path(word).is_relative_to(tmp_path)
        assert Path(word).is_file()


def test_restarts_and_storms_of_domains_are_measured() -> None:
    scale = measure_scale(3)
    assert (scale.domains, scale.channels) == (3, 12)
    figures = (scale.connect_cpu_s, scale.restart_cpu_ms, scale.storm_cpu_s)
    assert all(figure > 0 for figure in figures)
    assert scale.connected_ms > 0
