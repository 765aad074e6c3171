# Sourced by .ci/run, and by each step: the folder of the environments, and the Pythons.

if [ -z "${CHROMA_NB_CI_FOLDER:-}" ]; then
  CHROMA_NB_CI_FOLDER=$(mktemp -d)
  trap 'rm -rf "$CHROMA_NB_CI_FOLDER"' EXIT
fi
work=$CHROMA_NB_CI_FOLDER
mkdir -p "$work"
# Compiled once for all the processes that the tests start, and nothing of it in the checkout.
unset PYTHONDONTWRITEBYTECODE
export CHROMA_NB_CI_FOLDER PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONPYCACHEPREFIX="$work/pycache"

python_of() { # VERSION: prints where it is, or nothing
  local found
  for found in "$HOME"/.pyenv/versions/"$1".*/bin/python "$(command -v "python$1" || true)"; do
    if [ -x "$found" ]; then echo "$found"; return; fi
  done
}

main_python=$(python_of 3.11)
newest_python=$(python_of 3.13)
export CHROMA_NB_PYTHON="${main_python:-python3}"
newest_python=${newest_python:-$CHROMA_NB_PYTHON}
# The main environment, which scripts/* make and use.
export CHROMA_NB_VENV="$work/main"
main="$work/main/bin/python"
if [ -f ../shared/models/all-MiniLM-L6-v2/onnx/model.onnx ]; then
  CHROMA_NB_MINILM_PATH=$(cd ../shared/models/all-MiniLM-L6-v2/onnx && pwd)
  export CHROMA_NB_MINILM_PATH
fi

main_environment() { # EXTRAS, with commas between them
  (source scripts/environment.sh && environment test)
  "$main" -m pip install --quiet --no-compile --editable ".[$1]"
}

# An environment of another Python, with what a user installs and pytest.
leg() { # FOLDER PYTHON PIP-OPTIONS...
  [ -x "$work/$1/bin/python" ] || "$2" -m venv "$work/$1"
  "$work/$1/bin/python" -m pip install --quiet --no-compile --only-binary :all: \
    --no-binary chroma-nb "${@:3}" --editable ".[test]"
}
