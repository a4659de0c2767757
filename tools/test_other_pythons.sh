#!/usr/bin/env bash
# Runs the tests that need neither ROS nor PyTorch under Python 3.10 (JetPack 6) and 3.12 (Ubuntu
# 24.04) at the same time, if these are installed. On 3.10, the oldest supported version, it runs most
# tests, including the commands and the engines; on 3.12 it runs only the quick tests.
set -euo pipefail
cd "$(dirname "$0")/.."
unset AMENT_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

# Prints the path of a Python of that version, even if pyenv hides it behind a shim.
find_python() {
    local found
    if found=$("python$1" -c 'import sys; print(sys.executable)' 2>/dev/null); then
        echo "$found"
    elif command -v pyenv >/dev/null && found=$(pyenv prefix "$(pyenv latest "$1" 2>/dev/null)" 2>/dev/null); then
        echo "$found/bin/python$1"
    fi
}

install() {
    local python=$1 venv=$2
    if [ ! -e "$venv/.done" ] || [ setup.py -nt "$venv/.done" ]; then
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
            -e '.[opencv,onnxruntime,mavlink,select,evaluate,test]'
        touch "$venv/.done"
    fi
}

logs=$(mktemp -d)
running=()
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$logs"' EXIT
# Prints the pytest arguments for a version, one on each line.
arguments_for() {
    case $1 in
        3.10)
            # The longer run: two processes share it.
            printf '%s\n' -n 2 --dist loadfile --no-loadscope-reorder
            for folder in nodes quantization simulation training; do
                printf '%s\n' --ignore "test/$folder"
            done
            ;;
        3.12) printf '%s\n' -m 'not slow' ;;
    esac
}

for version in 3.10 3.12; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version is not installed here: its run is left out"
        continue
    fi
    install "$python" ".venv-$version"
    mapfile -t arguments < <(arguments_for "$version")
    ".venv-$version/bin/python" -m pytest -q -p no:cacheprovider "${arguments[@]}" \
        >"$logs/$version" 2>&1 &
    running+=("$version:$!")
done
failed=0
for each in ${running[@]+"${running[@]}"}; do
    wait "${each#*:}" || failed=1
    echo "Python ${each%%:*}, the part without ROS and PyTorch:"
    cat "$logs/${each%%:*}"
done
exit "$failed"
