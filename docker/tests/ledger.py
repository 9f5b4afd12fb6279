#!/usr/bin/env python3
"""A database in use, as Omni's is: `ledger.py write FILE` moves amounts between its rows, two pages a transaction and a hundred
transactions a second, in a write-ahead log that SQLite checkpoints every few seconds, until SIGTERM. `ledger.py check FILE` fails
unless FILE is what was committed at one moment: SQLite accepts it, there were transfers, and the sum of the rows is still 0."""

import random
import signal
import sqlite3
import sys
import time

ROWS = 400
action, file = sys.argv[1:]
db = sqlite3.connect(file, isolation_level=None)
if action == "write":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("BEGIN")
    db.execute("CREATE TABLE ledger (id INTEGER PRIMARY KEY, amount INTEGER, transfers INTEGER, filler BLOB)")
    db.executemany("INSERT INTO ledger VALUES (?, 0, 0, zeroblob(3000))", [(row,) for row in range(ROWS)])
    db.execute("COMMIT")
    try:
        while True:
            db.execute("BEGIN")
            for row, amount in zip(random.sample(range(ROWS), 2), (1, -1)):
                db.execute("UPDATE ledger SET amount = amount + ?, transfers = transfers + 1 WHERE id = ?", (amount, row))
            db.execute("COMMIT")
            time.sleep(0.01)
    finally:
        # Empties the log, and removes it.
        db.close()
else:
    accepted = db.execute("PRAGMA integrity_check").fetchone()[0]
    total, transfers = db.execute("SELECT sum(amount), sum(transfers) / 2 FROM ledger").fetchone()
    print(f"integrity_check: {accepted}; {transfers} transfers, sum {total}")
    sys.exit(not (accepted == "ok" and total == 0 and transfers > 0))
