"""A libbaresip softphone on JSON lines (see ``phone.py``): it sends a tone and listens to what it gets."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import sys
import uuid
from typing import Any

import baresip as br

RATE = 8000
TONE = b"".join(struct.pack("<h", int(10000 * math.sin(2 * math.pi * 500 * i / RATE))) for i in range(160))
HEADERS = ("Reason", "P-Called-Party-ID", "P-Asserted-Identity", "X-Cloudline-Call", "Diversion")


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Line:
    """One call and the audio that it sends and hears."""

    def __init__(self, phone: Phone, call: br.Call) -> None:
        self.phone, self.call = phone, call
        phone.lines.append(self)
        self.number = len(phone.lines)
        self.ended = False
        self.heard = 0
        """20 ms pieces of audio that were loud enough to be a tone."""
        call.on(self.on_event)
        call.on_dtmf(lambda event: say(event="digit", call=self.number, digit=event.digit))
        call.on_transfer_request(lambda request: say(event="transfer_request", call=self.number))

    def on_event(self, event: br.StackEvent) -> None:
        match event.event:
            case br.Event.CALL_RINGING | br.Event.CALL_PROGRESS:
                say(event="early", call=self.number, code=180)
            case br.Event.CALL_ESTABLISHED:
                say(event="up", call=self.number, code=200, peer=event.peer)
                self.phone.keep(asyncio.ensure_future(self.talk()))
            case br.Event.CALL_CLOSED:
                self.ended = True
                text = event.text or ""
                code = int(text.split()[0]) if text[:3].isdigit() else 0
                say(event="ended", call=self.number, code=code, reason=text, headers=event.headers)
            case br.Event.CALL_HOLD:
                say(event="media", call=self.number, state="remote_hold")
            case br.Event.CALL_RESUME:
                say(event="media", call=self.number, state="active")

    async def talk(self) -> None:
        while not self.ended:
            try:
                self.call.audio.write(TONE)
                data = self.call.audio.read(65536)
            except (br.AudioNotActive, br.AudioRestarted, br.StaleHandleError):
                data = b""
            for start in range(0, len(data) // 320 * 320, 320):
                samples = struct.unpack("<160h", data[start : start + 320])
                self.heard += max(abs(sample) for sample in samples) > 1000
            await asyncio.sleep(0.02)


class Phone:
    def __init__(self) -> None:
        self.runtime = br.Runtime()
        self.agent: br.UserAgent | None = None
        self.lines: list[Line] = []
        self.first_answer = 180
        self._tasks: set[asyncio.Future[None]] = set()

    def keep(self, task: asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def register(self, command: dict[str, Any]) -> None:
        transport = command["transport"]
        if self.agent is None:
            secure = "sip_verify_server no\nsip_cafile \n" if transport == "tls" else ""
            await self.runtime.start(
                br.Config(
                    net_interface="127.0.0.1",
                    max_concurrent_calls=None,
                    native_log_level="error",
                    expose_headers=HEADERS,
                    instance_id=str(uuid.uuid4()),
                    extra_config_text=secure,
                )
            )
        account = br.Account(
            user=command["user"],
            domain=command["domain"],
            password=command["password"],
            registrar=f"{command['host']}:{command['port']};transport={transport}",
            transport=transport,
            reg_interval=int(command.get("expires", 300)),
            auth_user=command.get("auth_user"),
            dtmf_mode="info" if command.get("info") else "rtpevent",
        )
        self.agent = await br.UserAgent.create(self.runtime, account, transfer_policy="auto")
        self.agent.on_incoming(self.on_incoming)
        self.agent.on_transfer_call(self.on_transfer)
        try:
            await self.agent.register(timeout=8)
            say(event="registered", code=200)
        except br.RegistrationError as error:
            say(event="registered", code=error.status or 0, reason=str(error))

    def on_incoming(self, call: br.Call) -> None:
        line = Line(self, call)
        say(event="incoming", call=line.number, caller=getattr(call, "peer", "") or "")
        if self.first_answer == 200:
            self.keep(asyncio.ensure_future(call.answer()))
        elif self.first_answer >= 300:
            self.keep(asyncio.ensure_future(call.reject()))

    def on_transfer(self, call: br.Call) -> None:
        line = Line(self, call)
        say(event="transferring", call=0, new=line.number)
        if call.state.name == "ESTABLISHED":
            say(event="up", call=line.number, code=200)
            self.keep(asyncio.ensure_future(line.talk()))

    async def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        line = self.lines[command["call"] - 1] if "call" in command else None
        match command["do"], line:
            case "register", _:
                await self.register(command)
            case "unregister", _:
                assert self.agent is not None
                await self.agent.unregister(timeout=5)
            case "first_answer", _:
                self.first_answer = int(command["status"])
            case "dial", _:
                assert self.agent is not None
                call = await self.agent.dial(command["uri"], command.get("headers"))
                return {"call": Line(self, call).number}
            case "answer", Line() if command["status"] == 200:
                await line.call.answer()
            case "answer", Line() if command["status"] >= 300:
                await line.call.reject()
            case "answer", Line():
                pass
            case "hangup", Line():
                if not line.ended:
                    await line.call.hangup()
            case "hold", Line():
                await line.call.hold()
            case "resume", Line():
                await line.call.resume()
            case "digits", Line():
                await line.call.send_dtmf(command["digits"])
            case "transfer", Line():
                await line.call.transfer(command["to"])
            case "attended", Line():
                await line.call.attended_transfer(self.lines[command["other"] - 1].call)
            case "stats", Line():
                return {"received": line.heard, "codec": ""}
            case name, _:
                raise ValueError(f"{name}: no such command, or no such call")
        return {}

    async def quit(self) -> None:
        if self.agent is not None:
            for line in self.lines:
                if not line.ended:
                    await line.call.hangup()
            await self.agent.unregister(timeout=1)
            await self.runtime.close()

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            try:
                if command["do"] == "quit":
                    await self.quit()
                    say(reply="quit")
                    return
                say(reply=command["do"], **await self.carry_out(command))
            except (br.BaresipError, ValueError, IndexError, KeyError) as error:
                say(reply=command["do"], error=repr(error))
                if command["do"] == "quit":
                    return


if __name__ == "__main__":
    asyncio.run(Phone().run())
