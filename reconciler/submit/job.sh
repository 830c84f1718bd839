#!/bin/sh
# job.sh FOLDER NONCE runs one task of a launch. It needs POSIX sh and what busybox has.
#
# Whoever links its owner file to claim/TASK first does the task; who comes later leaves with 75. Whoever links its end mark to
# end/TASK first has ended it, and only what that one names is its output. So one task has one effect, however many jobs there are.
set -u
umask 022
folder=$1 nonce=$2

die() {
	echo "pomona: $1" >&2
	exit 74
}

cd "$folder" || die "the launch folder cannot be seen on $(uname -n): is it on a file system that jobs share?"
task=${POMONA_TASK:-${SLURM_ARRAY_TASK_ID:-1}}
job=${POMONA_JOB:-${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$task}}
job=${job:-${SLURM_JOB_ID:-}}
owner=${job:-job}.$nonce
began=$(date +%s)
[ -f "task/$task" ] || die "there is no task $task"

# A job that was stopped and started again has the same owner.
run=$(mktemp -d "run/$task.$owner.XXXXXX") || die "no folder to run in"
echo "$owner" >"$run/owner" || die "no space to claim task $task"
ln "$run/owner" "claim/$task" 2>/dev/null
claimed=
read -r claimed <"claim/$task" || die "task $task cannot be claimed: has the file system no hard links?"

deny() {
	echo "pomona: $1" >&2
	rm -rf "$run"
	exit 75
}

[ "$claimed" = "$owner" ] || deny "task $task belongs to $claimed, not to $owner"

# ended leaves as the task ended before.
ended() {
	read -r how code <"end/$task" || die "the end of task $task cannot be read"
	[ "$how" = exit ] || deny "task $task was taken back"
	rm -rf "$run"
	exit "$code"
}

[ ! -e "end/$task" ] || ended

# Its processes are told to stop with it: the end of the job is still to be noted.
trap : TERM INT HUP USR1 USR2 XCPU
mkdir "$run/work" || die "no space for task $task"
tries=0
retries=0 retry_on=
# shellcheck disable=SC2034 # the task's file has them
path=/usr/local/bin:/usr/bin:/bin home=${HOME:-$folder/$run/work} lang=${LANG:-C.UTF-8} tmp=${TMPDIR:-/tmp} user=${USER:-$(id -un)}
# shellcheck disable=SC2034
inputs=$folder/inputs/$task outputs=$folder/$run/outputs

# shellcheck source=/dev/null
. "./task/$task" # says retries and retry_on, and makes run_task

while :; do
	tries=$((tries + 1))
	mkdir "$run/outputs" || die "no space for task $task"
	(cd "$run/work" && run_task) </dev/null
	code=$?
	case " $retry_on " in *" $code "*) ;; *) break ;; esac
	[ "$tries" -le "$retries" ] || break
	echo "pomona: exit status $code, trying again" >&2
	rm -rf "$run/outputs" || break
done

times >"$run/times"
{
	echo "exit $code"
	echo "began $began"
	echo "ended $(date +%s)"
	echo "job $job"
	echo "owner $owner"
	echo "node $(uname -n)"
	echo "tries $tries"
	{ read -r _ && read -r cpu && echo "cpu $cpu"; } <"$run/times"
	echo "folder $run"
	echo .
} >"$run/end" || die "no space to note the end of task $task"
if ! ln "$run/end" "end/$task" 2>/dev/null; then
	if [ -e "end/$task" ]; then ended; fi
	die "the end of task $task cannot be noted"
fi
[ "$code" != 0 ] || mv "$run/outputs" "out/$task" 2>/dev/null || [ -d "out/$task" ] || echo "pomona: outputs are still in $run" >&2
exit "$code"
