"""`FastAPI`: the API of whichever server answers, chroma_nb's own or Chroma's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.api._chroma_server import ChromaServer
from chroma_nb.api._http import ServerConnection
from chroma_nb.api._rest import RestAPI, reading_answers
from chroma_nb.api._server_info import find_out

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


class FastAPI(RestAPI):
    """Asks chroma_nb's own server."""

    @classmethod
    def open(cls, settings: Settings) -> RestAPI:
        """Return the API of the server at `Settings.url`.

        Raises:
            ServerUnavailableError: No Chroma server answers at that address.
            AuthorizationError, ChromaAuthError: It refuses what was shown to it.
        """
        http = ServerConnection(settings)
        try:
            with reading_answers(http):
                server = find_out(http)
        except BaseException:
            http.close()
            raise
        http.is_known = True
        kind = cls if server.ours else ChromaServer
        return kind(settings, http, server)
