# The API as a WSGI application, for Apache.
from zaqar.transport.wsgi.app import application  # noqa: F401
