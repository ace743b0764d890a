#!/bin/bash
# Prepare, train, evaluate: three programs, one after the other.
set -euo pipefail
export RATE="${1:-0.1}"
echo "[1/3] preparing"
seq 1 500 | awk 'BEGIN { srand(1) } { print $1, rand() }' > data.txt
echo "wrote $(wc -l < data.txt) rows to data.txt ($(stat -c %s data.txt) bytes)"
echo "[2/3] training with rate $RATE"
awk -v rate="$RATE" '{ w += rate * ($2 - w); loss += ($2 - w) ^ 2
  if (NR % 50 == 0) printf "iteration %d/500 loss %.6f\n", NR, loss / NR }' data.txt | tee train.log
echo "[3/3] evaluating"
awk '{ n += $2 > 0.5 } END { printf "accuracy: %.1f%%\n", 100 * n / NR }' data.txt | tee eval.log
echo "done in ${SECONDS}s"
