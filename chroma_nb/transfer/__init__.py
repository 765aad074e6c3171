"""Records in and out: tables (pandas, Polars, Arrow), Parquet files, and from one store to another.

Everything here goes by bounded pieces through what every client offers, so it works for any store. Before the
first piece is written, the ids of all of them are checked, and whatever else a table's cells can be refused for.
To resume an interrupted transfer, run the same call again: ids that are already there are skipped.
"""

from chroma_nb.api.copying import PIECE_RECORDS
from chroma_nb.transfer.arrow import add_arrow, collection_to_arrow
from chroma_nb.transfer.export import export_collection, import_collection
from chroma_nb.transfer.frames import add_frame
from chroma_nb.transfer.report import TransferReport, Transfers
from chroma_nb.transfer.stores import copy_collections

__all__ = [
    "PIECE_RECORDS",
    "TransferReport",
    "Transfers",
    "add_arrow",
    "add_frame",
    "collection_to_arrow",
    "copy_collections",
    "export_collection",
    "import_collection",
]
