"""A PJSIP softphone on JSON lines (see ``phone.py``).  No sound card: null device, a tone as the microphone.

The wheel is built for four calls and eight accounts a process: one process is one phone.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import uuid
from typing import Any

import pjsua2 as pj

STATES = {
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local_hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote_hold",
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}
TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}


class Channel:
    """Standard output, kept apart from what the library prints."""

    def __init__(self) -> None:
        kept = os.dup(1)
        os.dup2(2, 1)
        self._out = os.fdopen(kept, "w", encoding="utf-8")

    def say(self, **event: Any) -> None:
        self._out.write(json.dumps(event) + "\n")
        self._out.flush()


class Call(pj.Call):
    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, call_id)
        self.phone = phone
        phone.calls.append(self)
        self.number = len(phone.calls)
        self.ended = False

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        self.phone.message(self.number, prm.e)
        names = {
            pj.PJSIP_INV_STATE_EARLY: "early",
            pj.PJSIP_INV_STATE_CONFIRMED: "up",
            pj.PJSIP_INV_STATE_DISCONNECTED: "ended",
        }
        name = names.get(info.state)
        if name == "ended":
            self.ended = True
        if name:
            code, reason = info.lastStatusCode, info.lastReason
            self.phone.channel.say(
                event=name, call=self.number, code=code, reason=reason, peer=info.remoteUri
            )

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        self.phone.message(self.number, prm.e)

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()  # kept: its members live no longer than it does
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                self.phone.tone.startTransmit(self.getAudioMedia(index))
            state = STATES.get(media.status, "other")
            self.phone.channel.say(event="media", call=self.number, state=state)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        self.phone.channel.say(event="digit", call=self.number, digit=prm.digit)

    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        new = Call(self.phone)
        prm.newCall = new
        self.phone.channel.say(event="transferring", call=self.number, to=prm.dstUri, new=new.number)

    def onCallTransferStatus(self, prm: pj.OnCallTransferStatusParam) -> None:
        self.phone.channel.say(event="transfer", call=self.number, code=prm.statusCode, final=prm.finalNotify)

    def onCallReplaceRequest(self, prm: pj.OnCallReplaceRequestParam) -> None:
        new = Call(self.phone)
        prm.newCall = new
        self.phone.channel.say(event="replacing", call=self.number, new=new.number)

    def received(self) -> int:
        try:
            return int(self.getStreamStat(0).rtcp.rxStat.pkt)
        except pj.Error:
            return 0

    def codec(self) -> str:
        try:
            return str(self.getStreamInfo(0).codecName)
        except pj.Error:
            return ""


class Account(pj.Account):
    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self.phone = phone

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        self.phone.channel.say(event="registered", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        call = Call(self.phone, prm.callId)
        text = prm.rdata.wholeMsg
        self.phone.channel.say(event="message", call=call.number, text=text)
        call.answer(parameters(self.phone.first_answer))
        info = call.getInfo()
        self.phone.channel.say(
            event="incoming", call=call.number, caller=info.remoteUri, called=info.localUri
        )


def parameters(status: int = 0) -> pj.CallOpParam:
    made = pj.CallOpParam(True)
    made.statusCode = status
    return made


class Phone:
    def __init__(self) -> None:
        self.channel = Channel()
        self.calls: list[Call] = []
        self.account = Account(self)
        self.endpoint: pj.Endpoint | None = None
        self.tone = pj.ToneGenerator.__new__(pj.ToneGenerator)
        self.first_answer = 180
        self._seen: set[tuple[int, str]] = set()

    def message(self, number: int, event: pj.SipEvent) -> None:
        """Report the message that an event was about, once."""
        if event.type != pj.PJSIP_EVENT_TSX_STATE or event.body.tsxState.type != pj.PJSIP_EVENT_RX_MSG:
            return
        text = event.body.tsxState.src.rdata.wholeMsg
        if text and (number, text) not in self._seen:
            self._seen.add((number, text))
            self.channel.say(event="message", call=number, text=text)

    def start(self, transport: str) -> None:
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.userAgent = "pjsua2"
        config.logConfig.level = config.logConfig.consoleLevel = 3
        config.medConfig.noVad = True
        config.medConfig.ecTailLen = 0
        self.endpoint.libInit(config)
        own = pj.TransportConfig()
        own.boundAddress = "127.0.0.1"
        own.tlsConfig.verifyServer = False
        self.endpoint.transportCreate(TRANSPORTS[transport], own)
        self.endpoint.audDevManager().setNullDev()
        self.endpoint.libStart()
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator()
        sound = pj.ToneDesc()
        sound.freq1, sound.freq2, sound.on_msec, sound.off_msec = 600, 0, 1000, 0
        sounds = pj.ToneDescVector()
        sounds.append(sound)
        self.tone.play(sounds, True)

    def register(self, command: dict[str, Any]) -> None:
        transport = command["transport"]
        if self.endpoint is None:
            self.start(transport)
        suffix = "" if transport == "udp" else f";transport={transport}"
        config = pj.AccountConfig()
        config.idUri = f"sip:{command['user']}@{command['domain']}"
        config.regConfig.registrarUri = f"sip:{command['domain']}{suffix}"
        config.regConfig.timeoutSec = int(command.get("expires", 300))
        config.sipConfig.proxies.append(f"sip:{command['host']}:{command['port']}{suffix};lr")
        name = command.get("auth_user", command["user"])
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", name, 0, command["password"]))
        config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        # without it all processes of one machine announce the same instance
        config.natConfig.sipOutboundInstanceId = f"<urn:uuid:{uuid.uuid4()}>"
        if command.get("prack"):
            config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        if command.get("timer"):
            config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
            config.callConfig.timerSessExpiresSec = int(command["timer"])
            config.callConfig.timerMinSESec = 90
        self.account.create(config)

    def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        call = self.calls[command["call"] - 1] if "call" in command else None
        match command["do"], call:
            case "register", _:
                self.register(command)
            case "unregister", _:
                self.account.setRegistration(False)
            case "first_answer", _:
                self.first_answer = int(command["status"])
            case "dial", _:
                new = Call(self)
                extra = parameters()
                for name, value in command.get("headers", {}).items():
                    header = pj.SipHeader()
                    header.hName, header.hValue = name, value
                    extra.txOption.headers.append(header)
                new.makeCall(command["uri"], extra)
                return {"call": new.number}
            case "answer", Call():
                call.answer(parameters(command["status"]))
            case "hangup", Call():
                if not call.ended:
                    call.hangup(parameters())
            case "hold", Call():
                call.setHold(parameters())
            case "resume", Call():
                again = parameters()
                again.opt.flag = pj.PJSUA_CALL_UNHOLD
                call.reinvite(again)
            case "reinvite", Call():
                call.reinvite(parameters())
            case "digits", Call() if command.get("info"):
                for digit in command["digits"]:
                    one = pj.CallSendDtmfParam()
                    one.method, one.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, digit
                    call.sendDtmf(one)
            case "digits", Call():
                call.dialDtmf(command["digits"])
            case "transfer", Call():
                call.xfer(command["to"], parameters())
            case "attended", Call():
                call.xferReplaces(self.calls[command["other"] - 1], parameters())
            case "stats", Call():
                return {"received": 0 if call.ended else call.received(), "codec": call.codec()}
            case name, _:
                raise ValueError(f"{name}: no such command, or no such call")
        return {}

    def quit(self) -> None:
        if self.endpoint is not None:
            self.endpoint.hangupAllCalls()
            if self.account.isValid():
                self.account.setRegistration(False)
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                self.endpoint.libHandleEvents(20)

    def run(self) -> None:
        pending = b""
        while True:
            if select.select([0], [], [], 0 if self.endpoint else 1)[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    command = json.loads(line)
                    if command["do"] == "quit":
                        self.quit()
                        self.channel.say(reply="quit")
                        return
                    try:
                        self.channel.say(reply=command["do"], **self.carry_out(command))
                    except pj.Error as error:
                        self.channel.say(reply=command["do"], error=error.info().split("\n")[0])
                    except (ValueError, IndexError, KeyError) as error:
                        self.channel.say(reply=command["do"], error=repr(error))
            if self.endpoint:
                self.endpoint.libHandleEvents(10)


if __name__ == "__main__":
    Phone().run()
    sys.stderr.flush()
    # the library's own tidying at exit may hang or abort: nothing of it is of interest
    os._exit(0)
