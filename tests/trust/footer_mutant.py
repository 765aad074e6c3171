"""Imports a Parquet file again and again, each time damaged in another place; says a word for each, in a process of its own.

A line of input is a JSON list ``[place, bit]``, a line of output ``right``, ``refused`` or what is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import chroma_nb
from chroma_nb.errors import ChromaError


def records(collection: Any) -> dict[str, Any]:
    found = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    found["embeddings"] = found["embeddings"].tolist()
    return {key: found[key] for key in ("ids", "embeddings", "documents", "metadatas", "uris")}


def said(client: Any, path: Path, right: dict[str, Any] | None) -> str:
    """Say what an import gives."""
    try:
        found = records(client.import_(path, name="again"))
    except ChromaError as error:
        named = path.name in str(error)
        return "refused" if named else f"no file is named: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        for one in client.list_collections():
            client.delete_collection(one.name)
    return "right" if found == right else f"other records: {found}"


def main(path: Path) -> None:
    data = path.read_bytes()
    settings = chroma_nb.Settings(progress=False)
    with chroma_nb.EphemeralClient(settings) as client:
        right = records(client.import_(path, name="right"))
        client.delete_collection("right")
        damaged = path.with_name("damaged.parquet")
        for line in sys.stdin:
            at, bit = json.loads(line)
            changed = bytearray(data)
            changed[at] ^= bit
            damaged.write_bytes(changed)
            print(said(client, damaged, right).replace("\n", " ")[:400], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
