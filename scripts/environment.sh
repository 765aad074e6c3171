# Sourced by the other scripts: makes ./.venv with this project in it, once.
#   environment EXTRAS...   e.g.  environment test hnswlib
# CHROMA_NB_PYTHON names the Python to use, CHROMA_NB_VENV the folder.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${CHROMA_NB_VENV:-.venv}"

find_python() {
  for candidate in "${CHROMA_NB_PYTHON:-}" python3.11 python3.12 python3.13 python3.10 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "No Python 3.10 or newer was found. Set CHROMA_NB_PYTHON to one." >&2
  return 1
}

environment() {
  local extras stamp
  extras=$(IFS=,; echo "$*")
  stamp="$venv/.installed-${extras:-base}"
  if [ ! -x "$venv/bin/python" ]; then
    "$(find_python)" -m venv "$venv"
  fi
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
      --editable ".${extras:+[$extras]}"
    touch "$stamp"
  fi
}
