"""What of the directory a principal sees.  What it does not see is not there for it (404), so that nothing is
revealed by asking.
"""

from __future__ import annotations

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.problems import Problem, not_found
from numbering.directory import Directory
from numbering.models import Account, CloudNumber, Device, Greeting, User


class Sight:
    """Looks objects up on behalf of somebody; every method raises a 404 `Problem`."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def account(self, who: Principal, ref: str) -> Account:
        account = self._directory.account(ref)
        if account is None or not self.sees_account(who, ref):
            raise not_found("account")
        return account

    def user(self, who: Principal, ref: str) -> User:
        user = self._directory.user(ref)
        if user is None or not self.sees_user(who, user):
            raise not_found("user")
        return user

    def device(self, who: Principal, ref: str) -> Device:
        device = self._directory.device(ref)
        if device is None or not self.sees_device(who, device):
            raise not_found("device")
        return device

    def number(self, who: Principal, e164: str) -> CloudNumber:
        number = self._directory.number(e164)
        if number is None or not self.sees_number(who, number):
            raise not_found("number")
        return number

    def greeting(self, who: Principal, e164: str) -> Greeting:
        greeting = self._directory.greeting(e164)
        if greeting is None or not self.sees_account(who, greeting.account):
            raise not_found("greeting")
        return greeting

    def sees_account(self, who: Principal, ref: str) -> bool:
        return who.scope is Scope.OPERATOR or (who.scope is Scope.MANAGER and who.account == ref)

    def sees_user(self, who: Principal, user: User) -> bool:
        if who.scope in (Scope.OPERATOR, Scope.MANAGER):
            return self.sees_account(who, user.account)
        return who.scope is Scope.USER and who.user == user.ref

    def sees_device(self, who: Principal, device: Device) -> bool:
        if who.scope is Scope.DEVICE:
            return who.device == device.ref
        return self.sees_user_ref(who, device.user)

    def sees_number(self, who: Principal, number: CloudNumber) -> bool:
        """A holder's own, and those that are kept for somebody: reserved, in quarantine, being ported (NUM-05)."""
        if who.scope is Scope.MANAGER and who.account in (number.kept_account, number.account):
            return True
        return self.sees_user_ref(who, number.user or number.kept_for)

    def sees_user_ref(self, who: Principal, ref: str) -> bool:
        if who.scope is Scope.OPERATOR:
            return True
        user = self._directory.user(ref) if ref else None
        return user is not None and self.sees_user(who, user)

    def may_name(self, who: Principal, kind: str, key: str) -> bool:
        """Whether an object that somebody names in a request may be spoken of; what is not there may."""
        if who.scope is Scope.OPERATOR or not key:
            return True
        directory = self._directory
        if kind == "account":
            return directory.account(key) is None or self.sees_account(who, key)
        if kind == "user":
            user = directory.user(key)
            return user is None or self.sees_user(who, user)
        if kind == "device":
            device = directory.device(key)
            return device is None or self.sees_device(who, device)
        if kind == "number":
            number = directory.number(key)
            return number is None or self.sees_number(who, number)
        if kind == "greeting":
            greeting = directory.greeting(key)
            return greeting is None or self.sees_account(who, greeting.account)
        return False


def require(condition: bool, problem: Problem) -> None:
    """Raise a problem unless a condition holds."""
    if not condition:
        raise problem
