#!/usr/bin/env bash
# Makes .venv from constraints.txt. Returns at once when that is done; starts over when it was interrupted, or the lock
# or the interpreter changed. PYTHON=/path/to/python3.10 chooses the interpreter; pip's own settings are respected.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCK=constraints.txt
STAMP=.venv/.lock-sha256 # written last: no stamp, no finished set-up
NEEDED_GIB=6

say() { printf 'setup [%3ds] %s\n' "$SECONDS" "$*"; }

die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

fingerprint() { { cat "$LOCK" && .venv/bin/python -V; } 2>/dev/null | sha256sum; }

is_set_up() { [[ -f $STAMP && "$(fingerprint)" == "$(<"$STAMP")" ]]; }

check_lock() {
  [[ -f $LOCK ]] || die "$LOCK is missing: restore it with 'git checkout $LOCK'"
  local broken
  broken=$(grep -nvE '^(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+)?$' "$LOCK" | head -n 1) || return 0
  die "broken lock: $LOCK line ${broken%%:*} is not 'name==version': ${broken#*:}" \
    "restore it with 'git checkout $LOCK'"
}

check_machine() {
  [[ "$(uname -sm)" == "Linux x86_64" ]] ||
    die "this is $(uname -sm); ScaNN and TFX have wheels for Linux x86_64 only (a container or WSL will do)"
  local flag
  for flag in avx2 fma; do
    grep -qw "$flag" "${CPUINFO:-/proc/cpuinfo}" ||
      die "the CPU has no ${flag^^}, which TensorFlow and ScaNN need; a virtual machine must pass on the host's CPU"
  done
  local free_gib
  free_gib=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
  ((free_gib >= NEEDED_GIB)) || die "$free_gib GiB free here, $NEEDED_GIB GiB needed: free some disk space"
}

# Tried rather than looked up: a pyenv shim is on PATH but fails where its version is not selected.
runs_as_python310() { [[ "$("$1" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)" == "3 10" ]]; }

python_candidates() {
  command -v python3.10 || true
  if command -v uv >/dev/null; then uv python find 3.10 2>/dev/null || true; fi
  printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python
  printf '%s\n' "$HOME"/.local/share/uv/python/cpython-3.10*/bin/python3.10
}

find_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    runs_as_python310 "$PYTHON" || die "PYTHON=$PYTHON does not run as Python 3.10"
    echo "$PYTHON"
    return
  fi
  while read -r candidate; do
    if runs_as_python310 "$candidate"; then
      echo "$candidate"
      return
    fi
  done < <(python_candidates)
  die "no Python 3.10 found, the one version that TFX 1.16 and ScaNN 1.3.2 share. Any of these gets it:" \
    "  apt install python3.10 python3.10-venv python3.10-dev   (past Ubuntu 22.04: from ppa:deadsnakes/ppa)" \
    "  pyenv install 3.10" \
    "  uv python install 3.10" \
    "or name one yourself: PYTHON=/path/to/python3.10 make setup"
}

# Debian splits Python into several packages; pyfarmhash, a TFX need, and hnswlib, a benchmark's, have no wheels.
check_python() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$1 cannot make virtual environments: apt install python3.10-venv"
  [[ -f "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]] ||
    die "$1 has no C headers, needed to compile pyfarmhash and hnswlib: apt install python3.10-dev"
  command -v "${CXX:-c++}" >/dev/null ||
    die "no C++ compiler, needed for pyfarmhash and hnswlib: apt install build-essential"
}

# The value of pip's option $1; of the places that can hold it, the first one wins.
pip_option() {
  local place
  for place in :env: install global; do
    sed -n "s/^$place\.$1='\(.*\)'\$/\1/p" <<<"$pip_options" | grep . && return
  done
}

# uv does not read pip's options: hand over those that decide where packages come from, unless uv has its own.
hand_over() {
  local value
  value=$(pip_option "$1") || return 0
  [[ -n ${!2:-} ]] || export "$2=$value"
}

# The lock is complete, so nothing is resolved; it also pins what the compiled packages are built with.
install_with_uv() {
  local pip_options uv=(.venv/bin/python -m uv pip install --python .venv/bin/python)
  .venv/bin/python -m pip install --quiet --no-deps "$(grep '^uv==' "$LOCK")" || return
  pip_options=$(.venv/bin/python -m pip config list)
  hand_over index-url UV_INDEX_URL
  hand_over find-links UV_FIND_LINKS
  hand_over cert SSL_CERT_FILE
  [[ -t 2 ]] || uv+=(--quiet)
  # Where nothing may write bytecode later, every start of a command would compile thousands of modules anew.
  "${uv[@]}" --compile-bytecode --no-deps --requirement "$LOCK" --build-constraint "$LOCK"
}

install_with_pip() { PIP_CONSTRAINT=$LOCK .venv/bin/python -m pip install --no-deps --requirement "$LOCK"; }

build() {
  local python=$1 report
  export PIP_DISABLE_PIP_VERSION_CHECK=1
  trap 'rm -rf .venv' EXIT # lifted once the stamp is written
  if [[ -e .venv ]]; then
    say "removing the .venv of an interrupted set-up or another lock"
    rm -rf .venv
  fi
  say "making .venv with $python"
  "$python" -m venv .venv
  say "installing the $(grep -c == "$LOCK") packages of $LOCK"
  install_with_uv || {
    say "uv could not; trying pip (slower)"
    install_with_pip
  }
  say "putting ulim into .venv/bin"
  .venv/bin/python -m uv pip install --python .venv/bin/python --quiet --offline --no-deps --no-build-isolation \
    --editable .
  say "checking that it runs"
  report=$(.venv/bin/python -m ulim_tf.doctor 2>&1) || die "$report"
  fingerprint >"$STAMP"
  trap - EXIT
  say "done"
}

if is_set_up; then exit; fi

check_lock
check_machine
python=$(find_python)
check_python "$python"

exec 9<"$LOCK" # two `make` at once: the second waits here, then finds the work done
flock --nonblock 9 || {
  say "waiting for another set-up of this checkout"
  flock 9
}
is_set_up || build "$python"
