# The WSGI application of the API, for Apache.
from zaqar.transport.wsgi.app import application  # noqa: F401
