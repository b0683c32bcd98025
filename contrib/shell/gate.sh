#!/bin/sh
# Judges every model that is given, as a hook before a commit, a copy or a start:
#
#     contrib/shell/gate.sh POLICY MODEL...
#
# Ends with 0 only when every model was judged and meets the policy. A model that was not judged does not stop
# the others, and the worst outcome is the one that is returned: 3 (could not be completed) and whatever else
# is not 1 over 1 (does not meet the policy).
#
# TENSORSEAL names the program, where it is not on the PATH.
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
    *) echo "gate: $model: was not judged (exit code $code)" >&2 ;;
    esac
    case $worst,$code in
    0,*) worst=$code ;;
    1,0 | 1,1) ;;
    1,*) worst=$code ;;
    esac
done
exit "$worst"
