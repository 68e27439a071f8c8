#!/bin/bash
# Train on a second machine that has a GPU and no network; training/README.md describes it.
#
#   training/gpu_session.sh prepare            here: put into gpu/ what the machine needs
#   training/gpu_session.sh STAGE MINUTES ...  there: run stages in order, for example `speech 2.5 decoder 4.5 results 0`
#
# Stages: speech (teacher and latents; 15 processes), decoder, lm, both (decoder and lm at the same time), distil,
# results (small checkpoints, an int8 checkpoint and the curves, in files of 15 MB in $OUT). A run continues the one in
# gpu/run or, on the same machine, that of an earlier command. VAE, LM and DISTIL may hold more options of these stages.
set -euo pipefail
cd "$(dirname "$0")/.."
carried=gpu/run run=${RUN:-/tmp/run} python=${PYTHON:-python3} device=${DEVICE:-cuda} size=${SIZE:-nano} jobs=${JOBS:-15}

mkdir -p build/typing/intone
for folder in server client proto; do ln -sfn "../../../$folder" "build/typing/intone/$folder"; done
export PYTHONPATH=$PWD/build/typing:$PWD/gpu/wheel:$PWD PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1

train() {
  local stage=$1 out=$2
  shift 2
  "$python" -m training "$stage" --out "$out" --size "$size" "$@"
}

prepare() {
  train corpus "$carried" --agent 20000
  rm -r "$carried/en/sources"
  "$python" -m pip download -q --no-deps hibari-tts==0.2.1 -d gpu
  "$python" -m zipfile -e gpu/hibari_tts-*.whl gpu/wheel
  rm gpu/*.whl
  echo "carry gpu: $(du -sh gpu | cut -f1)"
}

# Begin from the results of an earlier session in gpu/run or, without any, from the packaged voice and training/runs/decoder.
begin() {
  mkdir -p "$run"
  cp -r "$carried/." "$run/"
  [ ! -e "$run/vae/state.pt" ] || return 0
  train begin "$run" --folder server/engines/voxcpm/nano
  cp training/runs/decoder/basis.safetensors "$run/"
  "$python" - training/runs/decoder/state.pt "$run/vae/state.pt" <<'END'
import sys

import torch

state = torch.load(sys.argv[1], weights_only=True)
torch.save({**state, "steps": 0}, sys.argv[2])  # the learning rate starts anew
END
}

stage() {
  local minutes=$2
  case $1 in
    speech) train teacher "$run" --hours 12 --jobs "$jobs" --minutes "$minutes" && train latents "$run" ;;
    decoder) train vae "$run" --device "$device" --minutes "$minutes" --adversary-from 1500 --jury-width 16 --steps 4000 ${VAE:-} ;;
    lm) train lm "$run" --device "$device" --minutes "$minutes" ${LM:-} ;;
    both) stage decoder "$minutes" & stage lm "$minutes" && wait $! ;;
    distil) train distil "$run" --device "$device" --minutes "$minutes" ${DISTIL:-} ;;
    results)
      train slim "$run"
      train export "$run" --storage int8
      cp "$run"/vae/curves.png "$OUT/vae.png" 2>/dev/null || true
      cp "$run"/lm/curves.png "$OUT/lm.png" 2>/dev/null || true
      tar cf - -C "$run" slim checkpoint | split -b 15M - "$OUT/results."
      ;;
    *) echo "unknown stage: $1" >&2 && exit 2 ;;
  esac
}

if [ "${1:-}" = prepare ]; then
  prepare
  exit
fi
[ -e "$run/basis.safetensors" ] || begin
while [ $# -gt 1 ]; do
  stage "$1" "$2"
  shift 2
done
