"""Users and groups that options name, and becoming one of them."""

from __future__ import annotations

import grp
import os
import pwd

from ..errors import OptionError, VfloppyError, option_named


def owner_ids(option: str, text: str) -> tuple[int, int]:
    """Return the ids of `USER`, `USER:GROUP` or `:GROUP`, names or numbers; -1 for a part left out.

    `option` is the name of the one that has the text. Raise OptionError for a name that this system
    doesn't have.
    """
    user, _, group = text.partition(":")
    try:
        user_id = -1 if not user else int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
        group_id = (
            -1 if not group else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        )
    except KeyError as error:
        raise OptionError(f"{option_named(option, text)}: {error.args[0]}") from None
    return user_id, group_id


def become(text: str) -> None:
    """Have this process run as `USER[:GROUP]` from now on, with that user's groups and no way back.

    Raise OptionError for a user who is not there, VfloppyError where the system refuses.
    """
    user_id, group_id = owner_ids("user", text)
    try:
        account = pwd.getpwuid(user_id)
        name, own_group = account.pw_name, account.pw_gid
    except (KeyError, OverflowError):
        name, own_group = "", -1
    if user_id < 0 or (group_id < 0 and own_group < 0):
        user = option_named("user", text)
        raise OptionError(f"{user}: USER or USER:GROUP is expected, of this system")
    if group_id < 0:
        group_id = own_group
    if (user_id, group_id) == (os.geteuid(), os.getegid()) != (0, 0):
        return
    try:
        os.setgroups(os.getgrouplist(name, group_id) if name else [group_id])
        os.setgid(group_id)  # as root: all three of each kind
        os.setuid(user_id)
    except OSError as error:
        raise VfloppyError(
            f"{option_named('user', text)}: {error.strerror}; only root can become somebody else"
        ) from error
