"""Make the static model that comes with chroma_nb again.

Token vectors are distilled from a sentence-transformers model (each token of its vocabulary goes through the
model alone; PCA to 256 dimensions; frequent tokens count less) and stored as int8::

    pip install "model2vec[distill]==0.10.0"
    python scripts/distill_static_model.py sentence-transformers/all-MiniLM-L6-v2 <folder>

model2vec (MIT licence), with torch and transformers, is needed for this script only, never by chroma_nb. The
model is a name on Hugging Face's hub, or a folder that holds all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSION = 256


def to_int8(embeddings: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
    """Scale all vectors by one factor, so that the largest number becomes 127, and round.

    The factor is not stored: a text's vector is made length one, so it plays no part.

    Args:
        embeddings: Shape (tokens, dimension).

    Returns:
        The same shape, int8.

    Raises:
        ValueError: The embeddings are no finite numbers, or all zero.
    """
    values = np.asarray(embeddings, dtype=np.float32)
    largest = float(np.abs(values).max(initial=0.0))
    if values.ndim != 2 or not np.isfinite(largest) or largest == 0.0:
        raise ValueError(
            f"Expected finite embeddings of shape (tokens, dimension) that are not all zero, got shape "
            f"{values.shape} with the largest number {largest}."
        )
    return np.rint(values * (127.0 / largest)).astype(np.int8)


def write_static_model(
    folder: Path,
    embeddings: NDArray[np.floating[Any]],
    tokenizer_json: str,
    about: dict[str, Any],
) -> None:
    """Write the files that `StaticEmbeddingFunction` reads.

    `model.safetensors` is written by hand: 8 bytes with the header's length (little-endian), the header
    (JSON, padded with spaces to a multiple of 8), the int8 rows.

    Args:
        folder: Made if it is not there.
        embeddings: Shape (tokens, dimension); row i is the vector of token i.
        tokenizer_json: The tokenizer, in the tokenizers package's own format.
        about: What the model is and where it comes from.

    Raises:
        ValueError: The tokenizer has more tokens than there are embeddings; or see `to_int8`.
    """
    table = to_int8(embeddings)
    tokens = len(json.loads(tokenizer_json)["model"]["vocab"])
    if tokens > len(table):
        raise ValueError(f"The tokenizer has {tokens:,} tokens; there are {len(table):,} vectors.")
    tensor = {"dtype": "I8", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    header = json.dumps({"embeddings": tensor}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        file.write(table.tobytes())
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    (folder / "ABOUT.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def distill(model: str) -> tuple[NDArray[np.float32], str, str]:
    """Distill a model with model2vec.

    Args:
        model: A folder or a name on Hugging Face's hub.

    Returns:
        Embeddings (tokens, 256), the tokenizer as JSON, model2vec's version.
    """
    from importlib.metadata import version

    from model2vec.distill import distill as distill_with_model2vec

    static = distill_with_model2vec(model, pca_dims=DIMENSION, quantize_to="float32")
    return (
        np.asarray(static.embedding, np.float32),
        static.tokenizer.to_str(),
        version("model2vec"),
    )


def main() -> None:
    """Read the command line and write the model."""
    parser = argparse.ArgumentParser(description="Distill the static model.")
    parser.add_argument("model", nargs="?", default=MODEL, help="folder or name on the hub")
    parser.add_argument("folder", type=Path, help="where the model's files go")
    arguments = parser.parse_args()
    embeddings, tokenizer_json, version = distill(arguments.model)
    source = MODEL if Path(arguments.model).is_dir() else arguments.model
    about = {
        "what": f"static token embeddings distilled from {source} with model2vec {version} "
        f"distill(pca_dims={DIMENSION}), stored int8",
        "use": "mean of the rows of the text's WordPiece ids (no special tokens), then L2-normalise",
        "licence": f"that of {source}; of {MODEL} it is Apache-2.0",
    }
    write_static_model(arguments.folder, embeddings, tokenizer_json, about)
    print(f"{arguments.folder}: {len(embeddings):,} tokens x {embeddings.shape[1]}, int8")


if __name__ == "__main__":
    main()
