"""The program under test with one of its system calls as its last, or failing: see system_calls.c."""
import pathlib
import struct
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).with_suffix(".c")
HEAD = struct.Struct("32sqqq")


class SystemCalls:
    """What happens to the calls of processes that are started with `environment`."""

    library = None

    def __init__(self, folder, journal, files):
        self.journal = pathlib.Path(journal)
        self.log = pathlib.Path(folder) / "hits"
        self.count = pathlib.Path(folder) / "count"
        self.unsynced = pathlib.Path(folder) / "unsynced"
        self.files = files
        if SystemCalls.library is None:
            SystemCalls.library = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-calls-")) / "system_calls.so"
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wno-unused-result", "-o",
                            str(SystemCalls.library), str(SOURCE), "-ldl"], check=True)

    def environment(self, counted, action, number, lasting=False):
        """`counted`: journal, commit, files, sync, write. `action`: kill, tear, EIO, ENOSPC. `number`: from 1 on."""
        self.log.unlink(missing_ok=True)
        self.count.write_bytes(bytes(8))
        return {
            "LD_PRELOAD": str(self.library), "KT_CALLS": f"{counted} {action} {number}{'+' if lasting else ''}",
            "KT_JOURNAL": str(self.journal), "KT_FILES": str(self.files), "KT_HITS": str(self.log),
            "KT_COUNT": str(self.count), "KT_UNSYNCED": str(self.unsynced)}

    def counted(self):
        return int.from_bytes(self.count.read_bytes(), "little")

    def hits(self):
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def cut_power(self):
        """Takes from the journal all that was written to it and not synced, and says how many writes that were."""
        content, records = self.unsynced.read_bytes(), []
        while content:
            name, offset, before, after = HEAD.unpack_from(content)
            old, content = content[HEAD.size:HEAD.size + before], content[HEAD.size + before:]
            records.append((name.rstrip(b"\0").decode(), offset, after, old))
        for name, offset, after, old in reversed(records):
            path = self.journal.with_name(name)
            if not path.exists():
                # SQLite removes a log once nothing in it is needed any more.
                assert path.name.endswith("-wal")
                continue
            with open(path, "r+b") as file:
                file.seek(0, 2)
                if len(old) < after and file.tell() <= offset + after:
                    file.truncate(offset + len(old))
                file.seek(offset)
                file.write(old)
        return len(records)
