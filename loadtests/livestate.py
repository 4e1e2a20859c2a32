"""``python -m loadtests.livestate``: what it costs to keep live state in Redis instead of in memory.

The same build twice, in turns within one run: CPU of the node per call, and the set-up delay of probe calls beside the load.
Redis runs on the generator's core; its own CPU is told apart.  With ``--check`` the exit code says whether the bounds hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from loadtests import ports, proc, servers, sipp, step
from loadtests.bench import cores_of
from loadtests.step import Load, Result, median, percentile

CPU_RATIO = 1.35
"""CPU of the node per call with Redis to that without, at most."""
DELAY_MS = 2.0
"""What the 99th percentile of the set-up delay may grow by, on loopback."""


class OverRedis(servers.Cloudline):
    """A node whose live state is in a Redis of its own."""

    def __init__(self, folder: Path, phone: sipp.Address, core: int | None, *, compiled: bool) -> None:
        super().__init__(folder, phone, core, compiled=compiled, users=200)
        self.name += ", Redis"
        self.port = ports.free_port(servers.SERVER_HOST)
        self._redis: subprocess.Popen[bytes] | None = None

    def start_redis(self, core: int | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pin = ["taskset", "-c", str(core)] if core is not None else []
        command = [*pin, "redis-server", "--port", str(self.port), "--bind", servers.SERVER_HOST]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self._redis = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def redis_cpu(self) -> float:
        return proc.cpu_seconds([self._redis.pid]) if self._redis is not None else 0.0

    def stop_redis(self) -> None:
        if self._redis is not None:
            proc.stop(self._redis)
            self._redis = None

    def _config(self) -> str:
        return super()._config().replace("memory://", f"redis://{servers.SERVER_HOST}:{self.port}/0")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.livestate", description=__doc__)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second (default: 60, compiled 200)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a step")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a bound does not hold")
    options = parser.parse_args()
    compiled = servers.has_compiled_core()
    rate = options.rate or (200.0 if compiled else 60.0)
    probe = min(20.0, rate * 0.2)
    load = Load(rate=rate - probe, seconds=options.seconds, probe_rate=probe)
    cores = cores_of()
    seen: dict[str, list[Result]] = {"memory": [], "redis": []}
    redis_cpu, calls = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="cloudline-livestate-") as name:
        folder = Path(name)
        phones = [sipp.Address(servers.PHONE_HOST, ports.free_port(servers.PHONE_HOST)) for _ in range(2)]
        memory = servers.Cloudline(folder / "memory", phones[0], cores.server, compiled=compiled, users=200)
        redis = OverRedis(folder / "redis", phones[1], cores.server, compiled=compiled)
        try:
            redis.start_redis(cores.generator)
            memory.start()
            redis.start()
            for number in range(options.rounds + 1):
                for key, server in (("memory", memory), ("redis", redis)):
                    before = redis.redis_cpu()
                    result = step.calls(server, load, cores)
                    print(result.line(), file=sys.stderr, flush=True)
                    if number and result.clean:  # the first round warms up
                        seen[key].append(result)
                        if key == "redis":
                            redis_cpu += redis.redis_cpu() - before
                            calls += result.completed + result.probes
        finally:
            memory.stop()
            redis.stop()
            redis.stop_redis()
    return _report(seen, redis_cpu / calls * 1000 if calls else 0.0, options.check)


def _report(seen: dict[str, list[Result]], redis_cpu: float, check: bool) -> int:
    if not all(seen.values()):
        print("no clean step: the machine is too busy, or the rate too high")
        return 1
    cpu = {key: median([result.cpu_per_1000 for result in results]) for key, results in seen.items()}
    delay = {
        key: median([percentile(result.delays_ms, 99) for result in results]) for key, results in seen.items()
    }
    ratio, more = cpu["redis"] / cpu["memory"], delay["redis"] - delay["memory"]
    print(f"CPU of the node per 1000 calls: memory {cpu['memory']:.3f} s, Redis {cpu['redis']:.3f} s")
    print(f"ratio {ratio:.2f} (at most {CPU_RATIO}); Redis itself {redis_cpu:.3f} s per 1000 calls")
    print(f"set-up delay, 99th percentile: memory {delay['memory']:.2f} ms, Redis {delay['redis']:.2f} ms")
    print(
        f"difference {more:.2f} ms (at most {DELAY_MS:g}); steps {len(seen['memory'])} and {len(seen['redis'])}"
    )
    return int(check and (ratio > CPU_RATIO or more > DELAY_MS))


if __name__ == "__main__":
    sys.exit(main())
