#!/bin/sh
# From a checked-out spec to an applied one, by exit codes and JSON alone. Needs `sh`, `tr` and `grep`.
#
#     pipeline.sh [FOLDER]        the spec's folder; the working folder when left out
#     LUSTRE=/path/to/lustre      the program, when it is not on the PATH
#
# Exit codes: 0 applied, or nothing to do; 1 an error; 2 applied, and a plan behind it still finds changes;
# 3 formatting differs; 4 the policy refuses the plan. README.md says how to split it into the jobs of a CI.
set -u

LUSTRE=${LUSTRE:-lustre}
cd "${1:-.}" || exit 1
umask 077 # plans hold what the state holds
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

say() {
    printf '== %s\n' "$*"
}

stop() {
    code=$1
    shift
    printf 'pipeline: %s\n' "$*" >&2
    exit "$code"
}

say 'formatting'
"$LUSTRE" fmt -check -recursive
case $? in
0) ;;
3) stop 3 'these files are not formatted: run lustre fmt -recursive and commit' ;;
*) stop 1 'the files could not be read as specs' ;;
esac

say 'validation'
if ! "$LUSTRE" validate -json >"$work/validate.json"; then
    cat "$work/validate.json" # diagnostics[] has file, line and text: annotate the change with it
    stop 1 'the spec is not valid'
fi

say 'plan'
"$LUSTRE" plan -input=false -detailed-exitcode -out="$work/plan" -json-into="$work/plan.jsonl"
case $? in
0)
    say 'nothing to do'
    exit 0
    ;;
2) ;;
*) stop 1 'no plan could be made' ;;
esac

say 'policy: nothing is deleted, no byte of a file is lost'
"$LUSTRE" show -json "$work/plan" >"$work/plan.json" || stop 1 'the plan could not be shown'
# Without white space, resource_changes[].change.actions and .data_loss can be searched: quotes inside of texts are escaped
# in JSON, so no text of the spec reads as a field. A replacement has "delete" among its actions too.
tr -d ' \n' <"$work/plan.json" >"$work/plan.compact" || stop 1 'the plan could not be searched'
grep -q '"resource_changes":\[' "$work/plan.compact" || stop 1 'this is not the JSON of a plan'
if grep -q '"data_loss":true' "$work/plan.compact"; then
    stop 4 'the plan would lose data; apply it by hand, with -allow-data-loss=ADDRESS'
fi
if grep -o '"actions":\[[^]]*\]' "$work/plan.compact" | grep -q '"delete"'; then
    stop 4 'the plan deletes or replaces; a person has to apply it'
fi

say 'apply'
"$LUSTRE" apply -input=false "$work/plan" || stop 1 'the apply did not end well; apply again goes on where it stopped'

say 'drift'
"$LUSTRE" plan -input=false -detailed-exitcode >"$work/drift"
case $? in
0) say 'everything is as the spec says' ;;
2)
    cat "$work/drift"
    stop 2 'something is still not as the spec says'
    ;;
*) stop 1 'no plan could be made behind the apply' ;;
esac
