"""Names of APIs in the settings: which one asks the server of an address, and which are remote.

Their classes are in `implementations.py`, which is above the settings.
"""

from __future__ import annotations

#: The API of a store in this process.
LOCAL_API = "local"
#: The same, where workers compute what takes long.
CELERY_API = "celery"
#: Scheme of a server's address -> the API that asks it. The APIs named here are remote, all others are not.
REMOTE_APIS = {
    "http": "fastapi",
    "https": "fastapi",
    "grpc": "arrowflight",
    "grpc+tls": "arrowflight",
}


def is_remote(api: str) -> bool:
    """Say whether the API of this name asks a server."""
    return api in REMOTE_APIS.values()


def remote_api(url: str) -> str:
    """Return the name of the API that asks the server of an address.

    An address without a scheme, or with an unknown one, goes to the API for HTTP, whose error says what is wrong with it.
    """
    return REMOTE_APIS.get(url.partition("://")[0].lower(), REMOTE_APIS["http"])
