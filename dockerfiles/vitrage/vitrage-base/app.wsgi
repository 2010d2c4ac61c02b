# The API as a WSGI application, for Apache.
from vitrage.api import app
from vitrage.common import config

config.parse_config([])
application = app.load_app()
