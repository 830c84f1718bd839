"""An SMTP relay for tests: smtpd.py PORT FOLDER. Puts each message into FOLDER, with those who get it in its first line."""
import os
import sys

from aiosmtpd.controller import Controller

port, folder = sys.argv[1:]


class Handler:
    """Keeps messages as files."""

    taken = 0

    async def handle_DATA(self, server, session, envelope):
        Handler.taken += 1
        temp = os.path.join(folder, "new")
        with open(temp, "wb") as f:
            f.write(("X-Rcpt: %s\r\n" % " ".join(envelope.rcpt_tos)).encode() + envelope.content)
        os.rename(temp, os.path.join(folder, "%d.eml" % Handler.taken))
        return "250 OK"


Controller(Handler(), hostname="127.0.0.1", port=int(port)).start()
print("ready", flush=True)
sys.stdin.read()
