#!/var/lib/kolla/venv/bin/python
# The API as a WSGI application, for Apache or uWSGI.
from zun.wsgi.api import application  # noqa: F401
