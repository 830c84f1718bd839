"""A small SMTP server for tests: smtpd.py starttls|implicit CERT KEY USER PASSWORD FOLDER.

Prints its port, then puts each message into FOLDER. It takes mail only after a login, and a login only over TLS; a
recipient that begins with nobody is refused for good, and the first message to later@ for now.
"""
import os
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

mode, cert, key, user, password, folder = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)


class Handler:
    """Keeps messages as files."""

    def __init__(self):
        self.taken = 0
        self.put_off = False

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 no such user"
        if address.startswith("later") and not self.put_off:
            self.put_off = True
            return "451 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.taken += 1
        temp = os.path.join(folder, "new")
        with open(temp, "wb") as f:
            f.write(("X-Rcpt: %s\r\n" % " ".join(envelope.rcpt_tos)).encode() + envelope.content)
        os.rename(temp, os.path.join(folder, "%d.eml" % self.taken))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()))


class Server(Controller):
    def factory(self):
        return SMTP(self.handler, tls_context=context if mode == "starttls" else None, require_starttls=mode == "starttls",
                    authenticator=authenticate, auth_required=True, auth_require_tls=mode == "starttls")


server = Server(Handler(), hostname="127.0.0.1", port=int(os.environ["PORT"]), ssl_context=context if mode == "implicit" else None)
server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
