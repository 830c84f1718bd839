#!/bin/sh
# pomona-fec answers what Pomona asks a front-end computer (FEC) over ssh, and nothing else. It needs busybox only.
# Manual: docs/restarts.md.
#
# As a forced command of authorized_keys it reads the words of SSH_ORIGINAL_COMMAND, which it never evaluates:
#   command="/usr/sbin/pomona-fec --allow status,restart,reboot,tar",restrict ssh-ed25519 AAAA...
# Without --allow, its own arguments are the command, and may be any.
#
#   status                    what this FEC runs
#   restart SERIAL SOFTWARE   install what is published and restart this software, if that is SERIAL
#   reboot SERIAL             which is what is wanted
#   tar -cf - -C DIR PATH     the archive of a folder of persistent data
#   dev put SOFTWARE VERSION SHA256 PATH    a developer's: its archive, gzip, comes on standard input
#   dev start|stop|drop SOFTWARE            drop: what is installed runs again
#   dev log SOFTWARE                        until standard input ends
#
# Exit status: 0 done or accepted, 1 failed, 3 inhibited, 126 no such command or not allowed.
set -uf
umask 022
export LC_ALL=C
unset POMONA_SOFTWARE POMONA_VERSION POMONA_INSTALL # of a script that has started the ssh server, perhaps

# settings: of the boot client. The environment wins over boot.conf.
settings() {
	conf=${POMONA_CONF:-/etc/pomona/boot.conf}
	if [ -r "$conf" ]; then
		given=$(export -p)
		# shellcheck source=/dev/null
		. "$conf"
		eval "$given" # text that the shell itself has quoted
	fi
	PREVIEW=${POMONA_PREVIEW:-$(sed -n 's/.*pomona\.preview=\([0-9]*\).*/\1/p' "${POMONA_CMDLINE:-/proc/cmdline}")}
	TOP=${POMONA_ROOT:-/var/lib/pomona}
	ROOT=$TOP${PREVIEW:+/previews/$PREVIEW}
	RUN=$ROOT/run
	BOOT=${POMONA_BOOT:-/usr/sbin/pomona-boot}
	REBOOT=${POMONA_REBOOT:-reboot}
	DATA=${POMONA_DATA:-opt}
}

fail() {
	echo "pomona-fec: $*" >&2
	exit 1
}
refuse() {
	echo "pomona-fec: refused: $*" >&2
	exit 126
}
log() {
	[ ! -d "$RUN" ] || echo "$(date '+%Y-%m-%d %H:%M:%S') pomona-fec: $*, asked by ${SSH_CONNECTION:-this FEC}" >>"$RUN/boot.log"
}

number() { case $1 in '' | *[!0-9]* | ???????????*) return 1 ;; esac }
name() { case $1 in '' | [.-]* | *[!A-Za-z0-9._+@-]*) return 1 ;; esac }

# inhibited: somebody at the FEC wants it neither restarted nor rebooted, and WHY.
inhibited() {
	for file in "$TOP/inhibit" /etc/pomona/inhibit; do
		[ -e "$file" ] || continue
		WHY=$(head -n 1 "$file" | tr -cd ' -~' | cut -c 1-200)
		WHY=${WHY:-$file is there}
		return 0
	done
	return 1
}

# working: a boot client is at work. A second one would do nothing.
working() {
	holder=$(readlink "$ROOT/lock") || return 1
	[ "${holder%%.*}.$(cut -d ' ' -f 22 "/proc/${holder%%.*}/stat" 2>/dev/null).$(cat /proc/sys/kernel/random/boot_id)" = "$holder" ]
}
uninhibited() {
	if inhibited; then
		echo "pomona-fec: inhibited: $WHY" >&2
		exit 3
	fi
}

# status: the state is the boot client's, of this run of the kernel: of an earlier one it says nothing any more.
status() {
	echo 'pomona-fec 1'
	echo "fec $(sed -n 's/^fec //p' "$ROOT/current/.pomona/manifest" 2>/dev/null)"
	[ -z "$PREVIEW" ] || echo "preview $PREVIEW"
	id=$(cat /proc/sys/kernel/random/boot_id)
	if [ "$(cat "$RUN/.boot" 2>/dev/null)" = "$id" ]; then
		[ ! -r "$RUN/state" ] || echo "state $(head -n 1 "$RUN/state")"
		[ ! -r "$RUN/.asked" ] || echo "asked $(head -n 1 "$RUN/.asked")"
	fi
	current=$(readlink "$ROOT/current") && echo "current ${current##*/}"
	echo "boot $id"
	inhibited && echo "inhibit $WHY"
	developed
	echo end
}

# asked WHAT notes what is about to happen. The state before it is over: whatever is told from now on came after it.
asked() {
	[ ! -d "$RUN" ] || { echo "$1" >"$RUN/.asked" && { [ ! -e "$RUN/state" ] || mv "$RUN/state" "$RUN/.before"; }; }
}

restart() { # SERIAL SOFTWARE...
	number "$1" || refuse "malformed serial $1"
	serial=$1
	shift
	for software in "$@"; do name "$software" || refuse "malformed software $software"; done
	uninhibited
	if working; then
		echo 'pomona-fec: inhibited: pomona-boot is at work' >&2
		exit 3
	fi
	[ -x "$BOOT" ] || fail "$BOOT is not there"
	log "restart of $* for serial $serial"
	asked "restart $serial"
	POMONA_WANTED=$serial setsid "$BOOT" --restart "$@" </dev/null >/dev/null 2>&1 &
	echo accepted
}

reboot() { # SERIAL
	number "$1" || refuse "malformed serial $1"
	uninhibited
	log "reboot for serial $1"
	asked "reboot $1"
	# shellcheck disable=SC2016 # $0 is the inner shell's; the answer goes out first
	setsid sh -c 'sleep 1; sync; exec $0' "$REBOOT" </dev/null >/dev/null 2>&1 &
	echo accepted
}

# archive DIR PATH, where DIR is the slot that boots: only what lies below a folder of data.
archive() {
	[ "$1" = "$TOP/current" ] || refuse "$1 is not $TOP/current"
	case /$2/ in *//* | */../* | */./*) refuse "malformed path $2" ;; esac
	allowed=no
	for prefix in $DATA; do
		case $2/ in "$prefix"/*) allowed=yes ;; esac
	done
	[ $allowed = yes ] || refuse "$2 is not below $DATA"
	slot=$(realpath "$1") || fail "$1 is not there"
	found=$(realpath "$1/$2" 2>/dev/null) || fail "$2 is not there"
	case $found in "$slot"/*) ;; *) refuse "$2 leads out of $1" ;; esac
	exec tar -cf - -C "$1" "$2"
}

# --- Development: docs/dev.md ---------------------------------------------------------------------------------------

developed() { # what the boot client has noted, in this run of the kernel
	[ "$(cat "$RUN/.boot" 2>/dev/null)" = "$id" ] || return 0
	set +f
	for file in "$RUN"/.slots/*:dev; do [ ! -f "$file" ] || echo "dev $(sed -n 3p "$file")"; done
	set -f
}

dev() { # VERB SOFTWARE [VERSION SHA256 PATH]
	name "$2" || refuse "malformed software $2"
	case $1.$# in
	put.5)
		name "$3" || refuse "malformed version $3"
		case $4 in *[!0-9a-f]*) refuse "malformed digest $4" ;; esac
		case $5/ in *[!A-Za-z0-9._+@/-]* | *//* | */.*) refuse "malformed path $5" ;; /*) ;; *) refuse "malformed path $5" ;; esac
		;;
	start.2 | stop.2 | drop.2) uninhibited ;;
	log.2) ;;
	*) refuse "no such command: dev $1 with $# words" ;;
	esac
	[ -x "$BOOT" ] || fail "$BOOT is not there"
	if [ "$1" = log ]; then
		follow "$RUN/boot.log" "$RUN/$2.log"
	else
		log "dev $*"
		exec "$BOOT" --dev "$@"
	fi
}

follow() { # FILE...
	tail -n 20 -F "$@" 2>/dev/null &
	tail=$!
	cat >/dev/null # until whoever asks is gone
	kill "$tail"
}

# takes N LEAST MOST: a verb has that many words after it.
takes() { if [ "$1" -lt "$2" ] || [ "$1" -gt "$3" ]; then refuse "$verb with $1 words"; fi; }

asked=${SSH_ORIGINAL_COMMAND:-}
unset SSH_ORIGINAL_COMMAND
settings
if [ "${1:-}" = --allow ]; then
	allowed=,${2:-},
	# shellcheck disable=SC2086 # words, and nothing in them is expanded: set -f
	set -- $asked
	[ "${1:-}" != pomona-fec ] || shift
	case $allowed in *",${1:-a login},"*) ;; *) refuse "${1:-a login} is not allowed here" ;; esac
fi
verb=${1:-nothing}
[ $# = 0 ] || shift
case $verb in
status) takes $# 0 0 && status ;;
restart) takes $# 2 1000 && restart "$@" ;;
reboot) takes $# 1 1 && reboot "$1" ;;
tar)
	[ "$#${1:-}${2:-}${3:-}" = '5-cf--C' ] || refuse 'tar but as tar -cf - -C DIR PATH'
	archive "$4" "$5"
	;;
dev) takes $# 2 5 && dev "$@" ;;
*) refuse "no such command: $verb" ;;
esac
