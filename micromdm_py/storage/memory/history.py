"""Command records as administrators look at them, and their end: expiry and retention, in dicts."""

from collections.abc import Sequence
from datetime import datetime

from micromdm_py.errors import CommandDone
from micromdm_py.protocol.lifecycle import OPEN_STATES, CommandState
from micromdm_py.storage.memory.queue import QueuePart
from micromdm_py.storage.records import CommandFilter, CommandPage, CommandRecord, EnrollmentRecord
from micromdm_py.storage.targets import choose_target

__all__ = ["HistoryPart"]


class HistoryPart(QueuePart):
    """Implements `storage.base.CommandHistory`."""

    def find_target(self, name: str, *, user: bool) -> EnrollmentRecord:
        """See `storage.base.CommandHistory`."""
        with self._s.lock:
            records = [one.record for one in self._s.channels.values()]
        return choose_target(name, records, user=user)

    def commands(self, api_id: str, wanted: CommandFilter) -> CommandPage:
        """See `storage.base.CommandHistory`."""
        before = wanted.page_start()
        with self._s.lock:
            newest_first = sorted(self._known(api_id).commands.items(), reverse=True)
            found = [
                one.record
                for sequence, one in newest_first
                if (before is None or sequence < before) and wanted.fits(one.record)
            ]
        page = found[: wanted.limit]
        return CommandPage(page, page[-1].command_id[8:] if page and len(found) > len(page) else "")

    def command_bodies(self, command_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """See `storage.base.CommandHistory`."""
        with self._s.lock:
            kept = {
                one.command_id: (one.entry.payload, one.report or b"")
                for channel in self._s.channels.values()
                for one in channel.commands.values()
            }
        return [kept.get(command_id, (b"", b"")) for command_id in command_ids]

    def cancel(self, api_id: str, command: str, *, at: datetime, request_id: str = "") -> CommandRecord:
        """See `storage.base.CommandHistory`."""
        with self._s.lock:
            found = self._find(api_id, command)
            if found.state not in OPEN_STATES:
                raise CommandDone(f"command {command} is {found.state}")
            found.withdraw(CommandState.CANCEL, at, request_id)
            return found.record

    def expire_commands(self, *, at: datetime, limit: int) -> int:
        """See `storage.base.CommandHistory`."""
        with self._s.lock:
            waiting = [one for channel in self._s.channels.values() for one in channel.open_commands]
            expired = [one for one in waiting if one.has_expired(at)]
            expired.sort(key=lambda one: (one.entry.expires_at, one.sequence))
            for one in expired[:limit]:
                one.withdraw(CommandState.PROTECTION_CANCELED, at)
        return len(expired[:limit])

    def forget_commands(self, *, before: datetime, limit: int) -> int:
        """See `storage.base.CommandHistory`."""
        with self._s.lock:
            done = [
                (one.done_at, one.sequence, channel)
                for channel in self._s.channels.values()
                for one in channel.commands.values()
                if one.done_at is not None and one.done_at < before
            ]
            done.sort(key=lambda one: one[:2])
            for _, sequence, channel in done[:limit]:
                del channel.commands[sequence]
        return len(done[:limit])
