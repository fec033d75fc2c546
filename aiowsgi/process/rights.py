"""Whose rights the workers have: another user's and group's than those that the sockets were opened with.

Only the workers change theirs, each at its start, before anything of an application is imported. The supervisor keeps
what it was started with: it serves nothing and imports no application, and has to remove socket files from folders
like /run and start further workers.
"""

import logging
import os
from dataclasses import dataclass

from aiowsgi.process.capabilities import drop_capabilities, may_signal_others

try:
    import grp
    import pwd
except ImportError:  # not on Windows
    grp = pwd = None  # type: ignore[assignment]

logger = logging.getLogger("aiowsgi.rights")

_NO_ID = 2**32 - 1  # to the system it means: leave it as it is


class RightsError(Exception):
    """A user or group that cannot be had; one line says which and why."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a process may do, as far as its user and groups go."""

    user: int
    group: int
    groups: tuple[int, ...]  # all of them
    environment: tuple[tuple[str, str], ...]  # variables that go with the user

    def take(self) -> None:
        """Give up all other rights of this process for ever. Raises RightsError.

        To be called before there is a second thread, for capabilities are a thread's.
        """
        own = (os.getuid(), os.geteuid(), os.getgid(), os.getegid())
        if own != (self.user, self.user, self.group, self.group):
            try:
                # In this order, for behind the last call none of the others is allowed.
                os.setgroups(self.groups)
                os.setgid(self.group)
                if self.user not in own[:2] and not may_signal_others():
                    raise OSError(0, "without CAP_KILL the supervisor could not stop it then")
                os.setuid(self.user)
            except OSError as error:
                raise RightsError(
                    f"this process may not change to user {self.user} and group {self.group}: {error.strerror}"
                ) from error
        if self.user != 0:
            try:
                drop_capabilities()
            except OSError as error:
                raise RightsError(
                    f"this process cannot give up its capabilities: {error.strerror}"
                ) from error
        os.environ.update(self.environment)
        if not os.access(os.__file__, os.R_OK):
            logger.warning(
                "user %d may not read %s, where Python's modules are", self.user, os.path.dirname(os.__file__)
            )

    def own(self, file: int | str) -> None:
        """Make ``file``, a descriptor or a path, theirs. Raises RightsError."""
        try:
            if isinstance(file, int):
                os.fchown(file, self.user, self.group)
            else:
                os.chown(file, self.user, self.group, follow_symlinks=False)
        except OSError as error:
            raise RightsError(
                f"this process may not give a file to user {self.user} and group {self.group}: {error.strerror}"
            ) from error


def find_rights(user: str | None, group: str | None) -> Rights | None:
    """Return the rights of ``user`` and ``group``, names or numbers; None where neither is given.

    A user has its own group unless ``group`` says otherwise, and the supplementary groups that the system's table
    names; a group alone leaves the user. Raises RightsError.
    """
    if user is None and group is None:
        return None
    if pwd is None:
        raise RightsError("this system has no users and groups to change to")
    if user is None:
        account, user_id = None, os.geteuid()
    else:
        account = _account(user)
        user_id = _number(user, "user") if account is None else account.pw_uid
    if group is not None:
        group_id = _group(group)
    elif account is not None:
        group_id = account.pw_gid
    else:
        raise RightsError(f"user {user} is not in the system's table, so --group is needed, too")
    if account is None:
        return Rights(user_id, group_id, (group_id,), ())
    groups = tuple(os.getgrouplist(account.pw_name, group_id))
    # Else everything that looks for its files at home finds those of root, and may not read them.
    environment = (("HOME", account.pw_dir), ("USER", account.pw_name), ("LOGNAME", account.pw_name))
    return Rights(user_id, group_id, groups, environment)


def _account(user: str) -> "pwd.struct_passwd | None":
    try:
        return pwd.getpwnam(user)
    except KeyError:
        pass
    try:
        return pwd.getpwuid(_number(user, "user"))
    except KeyError:
        return None


def _group(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return _number(group, "group")


def _number(text: str, what: str) -> int:
    """Return the number that stands where no such name was found."""
    if not (text.isascii() and text.isdecimal() and int(text[:11]) < _NO_ID):
        raise RightsError(f"there is no {what} {text}")
    return int(text)
