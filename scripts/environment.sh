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

# Without a pip of its own an environment is made in half the time; an older Python's pip cannot fill one.
make_venv() {
  local python
  python=$(find_python)
  if [ -z "${CHROMA_NB_VENV:-}" ] && "$python" -m pip --python "$python" --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip "$venv"
  else
    "$python" -m venv "$venv"
  fi
}

install() {
  if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$venv/bin/python" -m pip install "$@"
  else
    "$(find_python)" -m pip --python "$venv/bin/python" install "$@"
  fi
}

environment() {
  local extras stamp
  extras=$(IFS=,; echo "$*")
  stamp="$venv/.installed-${extras:-base}"
  if [ ! -x "$venv/bin/python" ]; then
    make_venv
  fi
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    install --quiet --no-compile --disable-pip-version-check \
      --editable ".${extras:+[$extras]}"
    touch "$stamp"
  fi
}
