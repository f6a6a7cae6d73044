"""Fifty rotations under the eyes of a consumer that gets in again and again with what it reads at that moment."""
import datetime
import threading

from workspace import run

START = datetime.datetime(2027, 3, 1, 8, 0, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Consumer(threading.Thread):
    """Reads its file and logs in with what it says, again and again."""

    def __init__(self, file, login):
        super().__init__()
        self.file, self.login = file, login
        self.answers, self.refused, self.logins, self.over, self.error = set(), [], 0, False, None

    def run(self):
        try:
            while not self.over:
                value = self.file.read_text()
                answer = self.login(value)
                self.logins += 1
                self.answers.add(answer)
                if not answer:
                    self.refused.append(value)
        except Exception as error:
            self.error = error

    def stop(self):
        self.over = True
        self.join()


def fifty_rotations(space, file, login, whose, only):
    """For a policy of thirty days with a rotation every twenty, a grace of two days and a file at the end.

    `login` tells who gets in with a value, and nobody where it is refused, `whose` who that is to be after so many
    rotations, and `only` checks that nothing but the newest value is left at the server after them. Gives all the values,
    the oldest first, and the time at the end."""
    run(space, "validate", "--online")
    run(space, "run", "--once", at=START)
    seen = [file.read_text()]
    consumer = Consumer(file, login)
    consumer.start()
    try:
        for turn in range(1, 51):
            now = START + turn * 20 * DAY + datetime.timedelta(minutes=turn)
            run(space, "run", "--once", at=now)
            seen.append(file.read_text())
            assert login(seen[-2]) == whose(turn - 1), "the old one lives through the grace"
            assert login(seen[-1]) == whose(turn)
            now += 3 * DAY
            run(space, "run", "--once", at=now)
            assert not login(seen[-2])
            only(turn, seen[-1])
    finally:
        consumer.stop()
    assert consumer.error is None and consumer.refused == [] and consumer.logins > 100
    assert consumer.answers == {whose(0), whose(1)} and len(set(seen)) == 51
    return seen, now
