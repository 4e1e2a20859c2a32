"""The three servers that are compared: how each is started, what it must know, and how it is stopped."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from abc import ABC, abstractmethod
from pathlib import Path

from loadtests import phone, ports, proc
from loadtests.sipp import Address

ROOT = Path(__file__).resolve().parent.parent
CALLED = "+33639981001"
"""The cloud number that is called; a reserved, fictional one."""
USER = "bench"
PASSWORD = "bench-secret"
DOMAIN = "bench.example"
TRUNK_HOST, PHONE_HOST, SERVER_HOST = "127.0.0.2", "127.0.0.3", "127.0.0.1"
"""The trunk is known by its address, so each part has a loopback address of its own."""
PURE_PACKAGES = ("callcontrol", "dialplan", "numbering", "gateway", "mediarelay", "config")


class UnavailableError(Exception):
    """The server cannot take part; the text says why."""


class Peer(ABC):
    """One server under test: listens on UDP at ``address`` and routes CALLED to the phone at ``phone``."""

    name: str
    registers = True
    """Whether softphones register with it (Sippy's B2BUA has a static route instead)."""

    def __init__(self, folder: Path, phone_address: Address, core: int | None, nice: int = 0) -> None:
        self.folder = folder
        self.phone = phone_address
        self.core = core
        self.nice = nice
        self.address = Address(SERVER_HOST, ports.free_port(SERVER_HOST))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> list[int]:
        return proc.family(self.process.pid) if self.process and self.process.poll() is None else []

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start afresh, wait until it listens, pin it to its core and register the phone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.environment()}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        listening = proc.wait_until(lambda: not self.alive or self._listens(), self.patience())
        if not listening or not self.alive:
            self.stop()
            raise UnavailableError(f"{self.name} did not start: {self.last_lines()}")
        self.settle()
        if self.registers:
            self._register_phone()

    def settle(self) -> None:
        """Pin what has been started (threads and children too) to the server's core."""
        if self.core is not None:
            proc.pin(self.pids, self.core)
        if self.nice:
            proc.raise_priority(self.pids, self.nice)

    def stop(self) -> None:
        if self.process is not None:
            proc.stop(self.process)
            self.process = None

    def last_lines(self) -> str:
        text = (self.folder / "log").read_text(errors="replace") if (self.folder / "log").exists() else ""
        return " | ".join(line.strip()[:200] for line in text.splitlines()[-4:]) or "no output"

    @abstractmethod
    def command(self) -> list[str]: ...

    def environment(self) -> dict[str, str]:
        return {}

    def patience(self) -> float:
        return 10.0

    def version(self) -> str:
        return ""

    def lags(self) -> dict[float, float]:
        """How often its event loop lagged by at most so many seconds, since it was started; empty: it does not tell."""
        return {}

    def _listens(self) -> bool:
        """Ask for OPTIONS; any answer will do (a port that is closed refuses at once)."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((PHONE_HOST, 0))
            sock.settimeout(0.3)
            port = sock.getsockname()[1]
            request = (
                f"OPTIONS sip:{self.address} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE_HOST}:{port};"
                f"branch=z9hG4bK{time.monotonic_ns()}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:bench@{PHONE_HOST}>;tag=1\r\nTo: <sip:{self.address}>\r\n"
                f"Call-ID: {time.monotonic_ns()}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            )
            try:
                sock.connect(self.address.pair)
                sock.send(request.encode())
                return sock.recv(4096).startswith(b"SIP/2.0")
            except (TimeoutError, ConnectionRefusedError):
                return False

    def _register_phone(self) -> None:
        last: Exception | None = None
        for _ in range(20):
            try:
                phone.register(self.address, self.phone, USER, PASSWORD, DOMAIN)
                return
            except phone.RefusedError as error:
                last = error
                time.sleep(0.25)
        raise UnavailableError(f"{self.name}: {last}")


class Kamailio(Peer):
    """Debian's Kamailio as a stateful proxy, one worker, allocator tlsf."""

    name = "Kamailio"

    def command(self) -> list[str]:
        if shutil.which("kamailio") is None:
            raise UnavailableError("kamailio is not installed (Debian package kamailio)")
        command = [
            "kamailio",
            "-f",
            str(ROOT / "loadtests" / "kamailio.cfg"),
            "-DD",
            "-E",
            "-x",
            "tlsf",
            "-X",
            "tlsf",
        ]
        command += ["-l", f"udp:{self.address}", "-b", "4194304", "-m", "1024", "-M", "32"]
        return [*command, "-w", str(self.folder), "-Y", str(self.folder), "-P", str(self.folder / "pid")]

    def version(self) -> str:
        done = subprocess.run(["kamailio", "-v"], capture_output=True, text=True, timeout=10, check=False)
        found = re.search(r"version: kamailio (\S+)", done.stdout)
        return found.group(1) if found else ""


class Sippy(Peer):
    """Sippy B2BUA (PyPI package ``sippy``) with a static route: no lookup, no call records."""

    name = "Sippy B2BUA"
    registers = False

    def __init__(self, folder: Path, phone_address: Address, core: int | None, nice: int = 0) -> None:
        super().__init__(folder, phone_address, core, nice)
        # where the packages of this interpreter have it, it is used; else it gets a venv of its own
        own = Path(sys.prefix) / "share" / "cloudline-bench" / "sippy"
        here = (Path(sys.prefix) / "bin" / "b2bua").exists()
        self.home = Path(os.environ.get("CLOUDLINE_BENCH_SIPPY") or (sys.prefix if here else own))

    def install(self) -> None:
        """A venv of its own: nothing of it mixes with the project's packages."""
        if (self.home / "bin" / "b2bua").exists():
            return
        self.home.parent.mkdir(parents=True, exist_ok=True)
        try:
            venv.create(self.home, with_pip=True, clear=True)
            pip = [str(self.home / "bin" / "python"), "-m", "pip", "install", "--quiet", "sippy"]
            done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"sippy could not be installed: {error}") from error
        if done.returncode or not (self.home / "bin" / "b2bua").exists():
            shutil.rmtree(self.home, ignore_errors=True)
            reason = (done.stderr or done.stdout).strip().splitlines()
            raise UnavailableError(
                f"sippy could not be installed: {reason[-1][:200] if reason else 'pip failed'}"
            )

    def command(self) -> list[str]:
        self.install()
        # run as a script of its interpreter: a venv that was moved has a stale first line
        command = [
            str(self.home / "bin" / "python"),
            str(self.home / "bin" / "b2bua"),
            "-f",
            "-l",
            SERVER_HOST,
        ]
        command += ["-p", str(self.address.port), "-u", "-A", "0", "-s", str(self.phone)]
        return [*command, "-c", f"unix:{self.folder / 'command.sock'}"]

    def environment(self) -> dict[str, str]:
        return {"SIPLOG_BEND": "none", "SIPLOG_LVL": "ERR"}

    def version(self) -> str:
        for path in self.home.glob("lib/python3*/site-packages/sippy-*.dist-info"):
            return path.name.removeprefix("sippy-").removesuffix(".dist-info")
        return ""


class Cloudline(Peer):
    """Our server: SQLite, memory state, metrics on; ``compiled`` by ``make compile``, else pure Python."""

    def __init__(
        self,
        folder: Path,
        phone_address: Address,
        core: int | None,
        nice: int = 0,
        *,
        compiled: bool,
        users: int = 0,
        numbers: int = 0,
    ) -> None:
        super().__init__(folder, phone_address, core, nice)
        self.compiled = compiled
        self.name = "Cloudline, compiled" if compiled else "Cloudline, pure"
        self.users = users
        self.numbers = numbers
        self.http = ports.free_port(SERVER_HOST)

    def command(self) -> list[str]:
        code = self._stage()
        self._check_build()
        config = self.folder / "cloudline.toml"
        config.write_text(self._config())
        run = [sys.executable, "-c", "import sys; from callcontrol.cli import main; sys.exit(main())"]
        if not (self.folder / "bench.db").exists():
            document = self.folder / "provisioning.toml"
            write_provisioning(document, self.users, self.numbers)
            apply = [*run, "apply", str(document), "--config", str(config)]
            environment = {**os.environ, **self.environment()}
            done = subprocess.run(
                apply, cwd=code, env=environment, capture_output=True, text=True, timeout=900, check=False
            )
            if done.returncode:
                text = (done.stderr or done.stdout).strip()
                raise UnavailableError(f"{self.name}: provisioning was refused: {text[-400:]}")
        return [*run, "serve", "--config", str(config)]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder / "code"), "PYTHONHASHSEED": "0"}

    def patience(self) -> float:
        return 120.0 if self.numbers or self.users > 1000 else 30.0

    def version(self) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    def lags(self) -> dict[float, float]:
        with urllib.request.urlopen(f"http://{SERVER_HOST}:{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        pattern = r'^cloudline_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$'
        return {float(le): float(count) for le, count in re.findall(pattern, text, re.MULTILINE)}

    def _check_build(self) -> None:
        """The measured process must run the build that its row is named after."""
        code = "from callcontrol.sip import message; print(message.__file__)"
        environment = {**os.environ, **self.environment()}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        path = Path(done.stdout.strip() or "nothing")
        if not path.is_relative_to(self.folder) or (path.suffix != ".py") != self.compiled:
            raise UnavailableError(f"{self.name}: the core would be {path}: {done.stderr.strip()[-200:]}")

    def _stage(self) -> Path:
        """A copy of the packages with or without compiled modules: one checkout serves both measurements."""
        code = self.folder / "code"
        if code.exists():
            return code
        code.mkdir(parents=True)
        ignore = shutil.ignore_patterns("__pycache__", *([] if self.compiled else ["*.so"]))
        for package in PURE_PACKAGES:
            shutil.copytree(ROOT / package, code / package, ignore=ignore)
        if self.compiled:
            for library in ROOT.glob("*.so"):
                shutil.copy2(library, code / library.name)
        return code

    def _config(self) -> str:
        return f"""\
[node]
id = "bench"
[sip]
listen = ["udp:{self.address}"]
domain = "{DOMAIN}"
[state]
url = "memory://"
[database]
url = "sqlite+aiosqlite:///{self.folder / "bench.db"}"
[http]
listen = "{SERVER_HOST}:{self.http}"
[media]
mode = "direct"
[limits]
trusted_networks = ["127.0.0.0/8"]
[log]
level = "warning"
[cdr]
outbox = "{self.folder / "outbox"}"
"""


def has_compiled_core() -> bool:
    """Whether ``make compile`` left compiled modules in the checkout."""
    return any((ROOT / "callcontrol").rglob("*.so"))


def load_user(number: int) -> tuple[str, str]:
    """Name and password of the softphone users that the REGISTER load uses."""
    return f"user{number}", PASSWORD


def write_provisioning(path: Path, users: int, numbers: int) -> None:
    """A trunk by source address, the holder of CALLED with a device; then users and numbers as asked."""
    parts = [
        '[[account]]\nref = "bench"\nkind = "company"\nplan = "advanced"\nmanager = "bench"\n',
        _user(USER, USER, PASSWORD),
        f'[[number]]\ne164 = "{CALLED}"\nuser = "{USER}"\n',
        f'[[trunk]]\nref = "bench"\npeers = ["sip:{TRUNK_HOST}:5060;transport=udp"]\n'
        f'accept_from = ["{TRUNK_HOST}/32"]\nport_must_match = false\nprefixes = ["+"]\n'
        "max_channels = 100000\nmax_cps = 100000\noptions_seconds = 0\n",
    ]
    parts += [_user(load_user(i)[0], *load_user(i)) for i in range(users)]
    for i in range(numbers):
        holder = load_user(i % users)[0] if users else USER
        parts.append(f'[[number]]\ne164 = "{fictional_number(i)}"\nuser = "{holder}"\n')
    path.write_text("\n".join(parts))


def fictional_number(index: int) -> str:
    """One of 120 000 numbers that regulators keep for fiction: four French ranges, then +1 NPA 555 01xx."""
    french = ("26191", "35301", "46571", "53649")
    if index < 10000 * len(french):
        return f"+33{french[index // 10000]}{index % 10000:04d}"
    rest = index - 10000 * len(french)
    if rest >= 80000:
        raise ValueError("there are only 120 000 numbers for fiction here")
    return f"+1{200 + rest // 100}55501{rest % 100:02d}"


def _user(ref: str, name: str, password: str) -> str:
    return (
        f'[[user]]\nref = "{ref}"\naccount = "bench"\nname = "{name}"\nemail = "{name}@bench.example"\n'
        f'[[device]]\nref = "{ref}-desk"\nuser = "{ref}"\nkind = "desktop"\n'
        f'sip_username = "{name}"\nsip_password = "{password}"\n'
    )


class Nobody(Peer):
    """No server: SIPp calls SIPp.  What the generator itself can do and adds to the delay."""

    name = "SIPp alone"
    registers = False

    def __init__(self, folder: Path, phone_address: Address, core: int | None, nice: int = 0) -> None:
        super().__init__(folder, phone_address, core, nice)
        self.address = phone_address

    @property
    def alive(self) -> bool:
        return True

    def start(self) -> None:
        return

    def command(self) -> list[str]:
        raise UnavailableError("there is nothing to start")
