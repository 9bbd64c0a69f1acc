#!/usr/bin/env bash
# Train the bundled networks on, for SECONDS at a time; run it again to go on where it stopped.
#
#     tools/train_all.sh FOLDER [SECONDS]
#
# One network after the other: the plain base of landscapes (500 thousand pictures of 64 px, then 100 thousand of 128), its RAD adapter
# (400 thousand, then 100 thousand), and SDM (200 thousand). Everything is written to FOLDER; what is better goes into rad_core/weights
# by hand, in float16: python -m rad_core convert FOLDER/base.safetensors -o rad_core/weights/landscapes.safetensors --dtype float16
# DEVICE, PRECISION, BATCH, WORKERS, COMPILE (not empty: torch.compile for base and adapter) and PYTHON may be set; a run goes on with the values it began with.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?"usage: tools/train_all.sh FOLDER [SECONDS]"}
python=${PYTHON:-python}
device=${DEVICE:-$("$python" -c "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')")}
precision=${PRECISION:-$([ "$device" = cuda ] && echo bfloat16 || echo float32)}
batch=${BATCH:-$([ "$device" = cuda ] && echo 256 || echo 16)}  # on an H200 a step takes .1 s, with 32 pictures or 128
workers=${WORKERS:-$([ "$device" = cuda ] && echo $(($(nproc) > 2 ? $(nproc) - 2 : 1)) || echo 0)}
deadline=$((SECONDS + ${2:-540}))
mkdir -p "$folder"

run() { # NAME KIND OPTIONS ...: until it has ended, or the time is over
    local name=$1 left=$((deadline - SECONDS)) status=0
    shift
    [ -e "$folder/$name.done" ] && return
    [ $left -gt 10 ] || { echo "The time is over: run it again to go on with $name."; exit 0; }
    echo "$name: $left s left"
    timeout --signal=INT "$left" "$python" -m rad_core train "$@" --precision "$precision" --device "$device" --workers "$workers" --save-every 100 \
        -o "$folder/$name.safetensors" || status=$?
    if [ $status -eq 124 ]; then
        echo "The time is over: run it again to go on with $name."
        exit 0
    fi
    [ $status -eq 0 ] || exit $status
    touch "$folder/$name.done"
}

steps() { echo $(($1 / batch)); }

run base base ${COMPILE:+--compile} --init landscapes --stages "64:$(steps 500000):$batch,128:$(steps 100000):$batch" --learning-rate 5e-4 --seed 31
run adapter rad ${COMPILE:+--compile} --base "$folder/base.safetensors" --init landscapes --stages "64:$(steps 400000):$batch,128:$(steps 100000):$batch" \
    --learning-rate 5e-4 --seed 32
run sdm sdm --init landscapes --widths 16,32,64,96 --attention 2,3 --latent 64 --code 128 --heads 2 --global-convs 1 \
    --iterations 1,2,3,4,4 --stages "64:$(steps 200000):$batch" --learning-rate 1e-3 --seed 33
echo "All is trained."
