"""The wire: what Chroma's REST v2 looks like in JSON, written once for both ends."""
