#!/bin/sh
# Judges every model on its command line, as a hook before a commit, a copy or a start:
#
#     contrib/shell/gate.sh POLICY MODEL...
#
# Exits with 0 only if every model was judged and meets the policy. A model that could not be judged does not stop the
# others. The worst exit code is returned: any other code, such as 3 (could not be completed), over 1 (does not meet the
# policy).
#
# Set TENSORSEAL to the path of the program if it is not on the PATH.
set -u

if [ $# -lt 2 ]; then
    echo "usage: gate.sh POLICY MODEL..." >&2
    exit 2
fi
policy=$1
shift

worst=0
for model in "$@"; do
    "${TENSORSEAL:-tensorseal}" gate "$model" --policy "$policy" --quiet --no-progress
    code=$?
    case $code in
    0) echo "gate: $model: passed" ;;
    1) echo "gate: $model: does not meet the policy" >&2 ;;
    *) echo "gate: $model: could not be judged (exit code $code)" >&2 ;;
    esac
    case $worst,$code in
    0,*) worst=$code ;;
    1,0 | 1,1) ;;
    1,*) worst=$code ;;
    esac
done
exit "$worst"
