#!/bin/sh
# pomona-boot brings a front-end computer (FEC) to the release that its site publishes and runs its init scripts.
# It needs busybox as a Yocto image ships it and one verifier of signatures. Manual: docs/boot.md.
#
# A boot fetches and verifies the manifest, fetches the objects that it names, unpacks them into a new slot, turns the
# link `current` and runs the slot's init scripts. When delivery fails, the installed slot boots.
#
# pomona-boot --restart SOFTWARE... brings a running FEC to it, and restarts this software only; if POMONA_WANTED says a serial, to
# no other.
# pomona-boot --dev put|start|stop|drop SOFTWARE... has it run what a developer has put there, until the next boot.
#
# The state folder, POMONA_ROOT, is usable after a power cut at any moment:
#   slots/SERIAL-HASH  an unpacked release; never changed or removed while a link names it
#   current previous   links to two slots
#   cache/SHA256       archives of these two; .part: a download to resume
#   serial             the newest serial accepted; an older manifest is a replay
#   clock              the time of the last report with a token; the next one's is later
#   run/ work/         boot.log and state; scratch: both emptied at each boot
#   run/.slots/        which slot each software was started from, and the rest (-): none of these is removed;
#                      SOFTWARE:dev: the slot of a developer's, the one that it stands on, software and version
#   lock               a link that names the client at work
#   previews/N         likewise all of this, of the preview of a pull request
#
# Exit status: 0 booted, 1 an init script failed, 2 nothing to boot or refused.
set -u
umask 022
export LC_ALL=C

# Fixed when the site's client was rendered.
SITE=@SITE@
CHANNEL=@CHANNEL@
SERVERS=@SERVERS@
REQUIRE_FRESH=@REQUIRE_FRESH@
ALLOW_UNVERIFIED=@ALLOW_UNVERIFIED@
CLIENT=3 # version of this client, for reports

# settings: the environment wins over boot.conf, which wins over the kernel command line.
settings() {
	conf=${POMONA_CONF:-/etc/pomona/boot.conf}
	if [ -r "$conf" ]; then
		given=$(export -p)
		# shellcheck source=/dev/null
		. "$conf"
		eval "$given" # text that the shell itself has quoted
	fi
	# shellcheck disable=SC2013 # words, not lines
	for word in $(cat "${POMONA_CMDLINE:-/proc/cmdline}"); do
		case $word in
		pomona.server=*) : "${POMONA_SERVER:=${word#*=}}" ;;
		pomona.fec=*) : "${POMONA_FEC:=${word#*=}}" ;;
		pomona.minserial=*) : "${POMONA_MIN_SERIAL:=${word#*=}}" ;;
		pomona.preview=*) : "${POMONA_PREVIEW:=${word#*=}}" ;;
		esac
	done
	SERVERS=$(echo "${POMONA_SERVER:-$SERVERS}" | tr ',' ' ')
	NAME=$(echo "${POMONA_FEC:-$(hostnomen 2>/dev/null || hostname)}" | tr '[:upper:]' '[:lower:]')
	ROOT=${POMONA_ROOT:-/var/lib/pomona}
	KEYS=${POMONA_KEYS:-/etc/pomona/keys}
	DATA_KEYS=${POMONA_DATA_KEYS:-/etc/pomona/data-keys}
	TRIES=${POMONA_TRIES:-3}     # rounds over all servers without progress when a release is installed
	RETRIES=${POMONA_RETRIES:-0} # the same when none is; 0: for ever
	WAIT=${POMONA_WAIT:-2}       # seconds before the second round; doubles up to WAIT_MAX
	WAIT_MAX=${POMONA_WAIT_MAX:-120}
	STALL=${POMONA_STALL:-20} # seconds after which a transfer without progress is ended
	STOP=${POMONA_STOP:-10}   # seconds after which a process that does not stop is killed
	TOKEN=${POMONA_TOKEN_FILE:-/etc/pomona/token}
	CLOCK=$ROOT/clock AT=''
	PREVIEW=${POMONA_PREVIEW:-}
	if [ -n "$PREVIEW" ]; then # nothing of it is taken for a release, nor the other way round
		CHANNEL=preview/$PREVIEW KEYS=${POMONA_PREVIEW_KEYS:-/etc/pomona/preview-keys} ROOT=$ROOT/previews/$PREVIEW POMONA_MIN_SERIAL=''
	fi
	RUN=$ROOT/run WORK=$ROOT/work LOG=/dev/null
	FEC=${NAME%%.*} SERIAL=0 SEEN=0 SLOT='' HAVE='' SERVER='' VERIFIER='' WHY='' NOTES='' ACTION='' DEV=''
	if [ ! -e "$TOKEN" ]; then
		TOKEN=''
	elif ! head -n 1 "$TOKEN" | grep -Eqx '[0-9a-f]{128}'; then
		note "malformed token in $TOKEN"
		TOKEN=''
	fi
	if has wget; then DOWNLOADER=wget; else DOWNLOADER=curl; fi
}

say() {
	echo "pomona-boot: $*"
	echo "$(date '+%Y-%m-%d %H:%M:%S') $*" >>"$LOG"
}
why() { # keeps the reason of a failure, and fails
	WHY=$*
	return 1
}
note() { NOTES=${NOTES:+$NOTES, }$*; }
refuse() {
	say "refused: $*"
	[ -n "$DEV" ] || report failed "$*"
	exit 2
}
has() { command -v "$1" >/dev/null 2>&1; }
more() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 > b + 0) }'; } # the shell's numbers have 32 bits
size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }
digest() { sha256sum <"$1" | cut -c 1-64; }
intact() { [ -f "$1" ] && [ "$(size "$1")" = "$2" ] && [ "$(digest "$1")" = "$3" ]; }
number() { case $1 in '' | *[!0-9]*) echo 0 ;; *) echo "$1" ;; esac }

# --- One client at a time -------------------------------------------------------------------------------------------

# identity PID: a process by its start and this run of the kernel, so that a number used again is another process.
identity() { echo "$1.$(cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null).$(cat /proc/sys/kernel/random/boot_id)"; }

lock() {
	mkdir -p "$ROOT/slots" "$ROOT/cache" || refuse "$ROOT cannot be written"
	until ln -s "$(identity $$)" "$ROOT/lock" 2>/dev/null; do # a link appears with its content, in one step
		holder=$(readlink "$ROOT/lock") || refuse "$ROOT/lock cannot be made"
		[ "$(identity "${holder%%.*}")" != "$holder" ] || refuse "process ${holder%%.*} is booting from $ROOT"
		# Two may find the same dead holder: then the slower one has just moved away what the faster one has made.
		mv "$ROOT/lock" "$ROOT/lock.$$" 2>/dev/null || [ ! -L "$ROOT/lock" ] || refuse "$ROOT/lock cannot be broken"
		[ "$(readlink "$ROOT/lock.$$")" = "$holder" ] || ln -s "$(readlink "$ROOT/lock.$$")" "$ROOT/lock"
		rm -f "$ROOT/lock.$$"
	done
	trap 'rm -f "$ROOT/lock"' EXIT # and no other: a watcher that inherits one could miss its own end
	rm -rf "$WORK"
	[ -n "$RESTART$DEV" ] || rm -rf "$RUN"
	mkdir -p "$RUN/.slots" "$WORK" && LOG=$RUN/boot.log
	cat /proc/sys/kernel/random/boot_id >"$RUN/.boot" # what run/ says, it says of this run of the kernel
	[ -n "$PREVIEW" ] || rm -rf "$ROOT/previews"
}

# --- Transfers ------------------------------------------------------------------------------------------------------

# get URL FILE BLOCKS [resume]: at most BLOCKS of 512 bytes, so that no server fills the disk. A status of 0 promises
# nothing: wget takes a connection that was cut for the end where the server gave no length.
get() {
	case $DOWNLOADER${4:+-resume} in
	wget) transfer "$STALL" "$2" "$3" wget -q -O "$2" "$1" ;;
	wget-resume) transfer "$STALL" "$2" "$3" wget -q -c -O "$2" "$1" ;;
	curl) transfer "$STALL" "$2" "$3" curl -fsSL -o "$2" "$1" ;;
	curl-resume) transfer "$STALL" "$2" "$3" curl -fsSL -C - -o "$2" "$1" ;;
	esac
}

# transfer SECONDS FILE BLOCKS COMMAND...: runs COMMAND, and ends it when FILE has not grown for SECONDS. Not every
# busybox has wget -T, and none of Yocto's has timeout.
transfer() {
	seconds=$1 into=$2 blocks=$3
	shift 3
	(ulimit -f "$blocks" && exec "$@") </dev/null >/dev/null 2>"$WORK/errors" &
	pid=$!
	watch_growth "$seconds" "$pid" "$into" </dev/null >/dev/null 2>&1 &
	watcher=$!
	wait "$pid"
	status=$?
	kill "$watcher" 2>/dev/null
	[ "$status" != 33 ] || rm -f "$into" # curl: the server cannot resume
	return "$status"
}

# watch_growth SECONDS PID FILE may outlive a client that is killed. Then PID ends, and its number may become somebody
# else's, who must not be harmed.
watch_growth() {
	whom=$(identity "$2") was=-1
	while sleep "$1" && kill -0 "$2" && [ "$(identity "$2")" = "$whom" ]; do
		is=$(size "$3")
		[ "$is" != "$was" ] || kill "$2"
		was=$is
	done
}

errors() { tail -n 1 "$WORK/errors" 2>/dev/null; }

# object URL SIZE SHA256 brings an object into the cache. What was cut is resumed in the next round; what is corrupt,
# perhaps because a part was, is fetched once more from its start.
object() {
	file=$ROOT/cache/$3 part=$ROOT/cache/$3.part
	intact "$file" "$2" "$3" && return 0
	for again in yes no; do
		had=$(size "$part")
		[ "$had" = "$2" ] || get "$1" "$part" "$(awk -v n="$2" 'BEGIN { printf "%d", n / 512 + 2 }')" resume
		if intact "$part" "$2" "$3"; then
			mv -f "$part" "$file" || why "$ROOT cannot be written" || return
			progress=yes
			return 0
		fi
		if more "$2" "$(size "$part")"; then
			[ "$(size "$part")" = "$had" ] || progress=yes
			why "got $(size "$part") of $2 bytes of $1: $(errors)"
			return
		fi
		rm -f "$part"
		[ $again = no ] || say "$1 is corrupt, fetching it again"
	done
	why "$1 is corrupt"
}

# report STATE [DETAIL] keeps the state in run/ and tells the server, best effort: nothing here stops a boot.
report() {
	detail=${2:-}${2:+${NOTES:+, }}$NOTES
	[ -n "$VERIFIER" ] || detail=unverified${detail:+, }$detail
	[ "$LOG" != /dev/null ] || return 0 # the run folder is another client's
	echo "$1 $SERIAL ${SLOT##*/} $detail" >"$RUN/state"
	[ "${POMONA_REPORT:-yes}" = yes ] || return 0
	detail=$(echo "$detail" | cut -c 1-400 | tr -c 'A-Za-z0-9._:/,()\n-' ' ' | tr ' ' '+')
	slot=$(echo "${SLOT##*/}" | sed 's/+/%2B/g')
	form="fec=$FEC&serial=$SERIAL&state=$1&slot=$slot&detail=$detail&client=$CLIENT${PREVIEW:+&preview=$PREVIEW}"
	dev=$(developed | tr ' \n' '+,')
	form=$form${dev:+&dev=${dev%,}}
	[ -z "$TOKEN" ] || prove
	url=$SERVER/-/report answer=$WORK/answer
	case $DOWNLOADER in
	wget) transfer 3 "$answer" 64 wget -q -O "$answer" --post-data "$form" "$url" ;;
	curl) transfer 3 "$answer" 64 curl -fsS -o "$answer" --data "$form" "$url" ;;
	esac || STALL=3 get "$url?$form" "$answer" 64 || say "no report to $SERVER: $(errors)" # the second one is for access logs
}

# prove adds to form the time, later than in any report before, and the code that only this FEC's token makes of all that:
# NMAC, each half of the token being one block of SHA-256. The token is no word of any command, where others could see it.
prove() {
	AT=$(awk -v now="$(date +%s)" -v last="${AT:-$(number "$(cat "$CLOCK" 2>/dev/null)")}" \
		'BEGIN { printf "%.0f", (last < now || last > now + 3600 ? now : last + 1) }') # a clock far ahead has been set right since
	{ echo "$AT" >"$CLOCK"; } 2>/dev/null
	form="$form&at=$AT"
	form="$form&mac=$(keyed 65-128 "$(keyed 1-64 "$form")")"
}
keyed() { { head -n 1 "$TOKEN" | cut -c "$1" | tr -d '\n' && echo "$2" | tr -d '\n'; } | sha256sum | cut -c 1-64; }

# --- Manifests ------------------------------------------------------------------------------------------------------

find_verifier() {
	for program in usign signify-openbsd signify openssl pomona-verify; do
		has "$program" || continue
		case $program$(openssl version 2>/dev/null) in openssl*' '[012].*) continue ;; esac # 3.0 brought Ed25519 of files
		VERIFIER=$program
		break
	done
	[ -n "$VERIFIER" ] || WHY='no usign, signify, openssl 3 or pomona-verify to verify with'
	for key in "$KEYS"/*.pub; do [ -f "$key" ] || VERIFIER='' WHY="no public keys in $KEYS to verify with"; done
	[ -z "$VERIFIER" ] || return 0
	[ "$ALLOW_UNVERIFIED" = 1 ] || refuse "$WHY"
	say "signatures are NOT verified: $WHY"
}

# accepts KEY: work/sig is KEY's signature of work/body. Both start with the same key number.
accepts() {
	[ "$(sed -n 2p "$1" | cut -c 1-13)" = "$(sed -n 2p "$WORK/sig" | cut -c 1-13)" ] || return 1
	case $VERIFIER in
	usign) usign -V -q -m "$WORK/body" -p "$1" -x "$WORK/sig" ;;
	signify*) "$VERIFIER" -V -q -p "$1" -x "$WORK/sig" -m "$WORK/body" ;;
	pomona-verify) pomona-verify "$1" "$WORK/sig" "$WORK/body" ;;
	openssl) # wants DER, RFC 8410: twelve fixed bytes and the key
		printf '\060\052\060\005\006\003\053\145\160\003\041\000' >"$WORK/key.der"
		sed -n 2p "$1" | openssl base64 -d -A | tail -c 32 >>"$WORK/key.der"
		sed -n 2p "$WORK/sig" | openssl base64 -d -A | tail -c 64 >"$WORK/sig.raw"
		openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key.der" -rawin -in "$WORK/body" -sigfile "$WORK/sig.raw"
		;;
	esac >/dev/null 2>&1
}

# signed FILE HEADER KEYS: cuts the signatures off FILE, which leaves work/body, and checks that one of them is by one of
# the KEYS. While a key is being replaced there are two signatures.
signed() {
	first=$(awk -v header="$2" '$0 == header { print NR; exit }' "$1")
	case $first in [13579] | 1[1357]) ;; *) why 'it is cut or no manifest' || return ;; esac
	tail -n "+$first" "$1" >"$WORK/body" || why "$ROOT cannot be written" || return
	[ -n "$VERIFIER" ] || return 0
	while [ "$first" -gt 1 ]; do
		first=$((first - 2))
		sed -n "$first,$((first + 1))p" "$1" >"$WORK/sig"
		for key in "$3"/*.pub; do
			if accepts "$key"; then return 0; fi
		done
	done
	why "no key in $3 has signed it as it is"
}

# What lines look like. Nothing else is ever used as a name, a path or a number.
name='[A-Za-z0-9_][A-Za-z0-9._+@-]*'
integer='(0|[1-9][0-9]{0,12})'
archive="(gzip|xz|zstd) $integer [0-9a-f]{64}"
path='(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+'
boot_line="(site|fec|host|platform) $name|channel $name(/[1-9][0-9]{0,8})?|(serial|expires) $integer|data (yes|no)|persist $name $name $path\
|software $name $name $archive $path (start|hold)|configuration $name $name $archive $path\
|scripts $archive|init $name [0-9a-f]{64} (-|$name)"
data_line="(site|fec) $name|data $name $name $archive $path"

# formed LINE WORD...: work/body is whole, all its lines are like LINE, and the first of them begin with the WORDs.
formed() {
	[ "$(tail -n 1 "$WORK/body")" = "end $(($(wc -l <"$WORK/body") - 1))" ] || why 'it is cut' || return
	[ "$(tr -d '\n -~' <"$WORK/body" | wc -c)" -eq 0 ] || why 'it is no text' || return
	bad=$(sed '1d;$d' "$WORK/body" | grep -Ev "^($1)\$" | head -n 1)
	[ -z "$bad" ] || why "malformed line: $bad" || return
	shift
	[ "$(head -n $# "$WORK/body" | cut -d ' ' -f 1 | tr '\n' ' ')" = "$* " ] || why 'its lines have another order'
}

lines() { sed -n "s/^$1 //p" "$WORK/body"; }
field() { lines "$1" | head -n 1; }
same() { [ "$1" = "$2" ] || [ "$1" = "${2%%.*}" ] || [ "${1%%.*}" = "$2" ]; } # names; one may lack its domain

# manifest FILE: verifies a boot manifest and that it is for this FEC, and reads it.
manifest() {
	[ -f "$1" ] || why 'it has no manifest' || return
	signed "$1" 'pomona-boot 1' "$KEYS" || return
	formed "$boot_line" pomona-boot site channel fec host platform serial expires data || return
	[ "$(field site)" = "$SITE" ] || why "it is for site $(field site), not $SITE" || return
	[ "$(field channel)" = "$CHANNEL" ] || why "it is for channel $(field channel), not $CHANNEL" || return
	same "$(field fec)" "$NAME" || same "$(field host)" "$NAME" || why "it is for $(field fec), not $NAME" || return
	PLATFORM=$(field platform)
	[ "${POMONA_PLATFORM:-$PLATFORM}" = "$PLATFORM" ] || why "it is for platform $PLATFORM, not $POMONA_PLATFORM" || return
	FEC=$(field fec) HOST=$(field host) SERIAL=$(field serial) EXPIRES=$(field expires) DATA=$(field data)
}

minutes() { # since 1970, without a number that 32 bits cannot hold
	seconds=$(date +%s)
	echo $((${seconds%?} / 6))
}
clock_set() { more "$(minutes)" 28401120; } # 2024 has begun
expired() { clock_set && more "$(minutes)" "$EXPIRES"; }
fresh() { # for sites that demand it: a clock that is not set proves nothing
	[ "$REQUIRE_FRESH" = 1 ] || return 0
	clock_set || why 'the clock is not set, and the site demands fresh manifests' || return
	! expired || why 'it has expired, and the site demands fresh manifests'
}

# acceptable: work/manifest, just read, may replace what is installed.
acceptable() {
	! more "$SEEN" "$SERIAL" || why "replay: serial $SERIAL is older than $SEEN" || return
	fresh || return
	[ -z "$HAVE" ] || ! expired || cmp -s "$WORK/manifest" "$HAVE/.pomona/manifest" ||
		why 'it has expired, and a release is installed' || return
	more "$SERIAL" "$SEEN" || return 0
	SEEN=$SERIAL
	{ echo "$SEEN" >"$WORK/serial" && mv -f "$WORK/serial" "$ROOT/serial"; } || why "$ROOT cannot be written"
}

# --- Slots ----------------------------------------------------------------------------------------------------------

# scripts_in SLOT: every init script of the manifest is there as it was signed.
scripts_in() {
	lines init | sort >"$WORK/init" || why "$ROOT cannot be written" || return
	while read -r script hash starts; do
		file=$1/.pomona/init/$script
		{ [ -f "$file" ] && [ ! -L "$file" ] && [ "$(digest "$file")" = "$hash" ]; } ||
			why "init script $script is not the one that was signed" || return
	done <"$WORK/init"
}

# whole SLOT: it may boot, as far as that shows without reading all of it. Its manifest is then the one read last.
whole() {
	{ manifest "$1/.pomona/manifest" && fresh && scripts_in "$1"; } || return
	case ${1##*/} in
	"$SERIAL-$(digest "$1/.pomona/manifest" | cut -c 1-8)"*) ;;
	*) why "its manifest is another slot's" || return ;;
	esac
	awk '/^(software|configuration) / { print $7 }' "$WORK/body" >"$WORK/installs"
	while read -r install; do [ -e "$1$install" ] || why "$install is missing" || return; done <"$WORK/installs"
}

# find_installed: HAVE is the slot that boots when nothing newer arrives, SEEN the newest serial known.
find_installed() {
	for link in current previous; do # finishes what turn was doing when the power went
		if [ ! -L "$ROOT/$link" ] && [ -L "$ROOT/$link.new" ]; then mv "$ROOT/$link.new" "$ROOT/$link"; fi
		rm -f "$ROOT/$link.new"
	done
	prune_slots
	current=$(readlink "$ROOT/current")
	current=${current#slots/}
	for serial in "$(cat "$ROOT/serial" 2>/dev/null)" "${POMONA_MIN_SERIAL:-}" "${current%%-*}"; do
		serial=$(number "$serial")
		! more "$serial" "$SEEN" || SEEN=$serial
	done
	for link in current previous; do
		HAVE=$ROOT/$(readlink "$ROOT/$link") || continue
		if whole "$HAVE"; then return; fi
		say "$link, ${HAVE##*/}, cannot boot: $WHY"
	done
	HAVE='' SERIAL=0
}

# unpack FILE FORMAT FOLDER [MEMBER]. A linter has passed archives before they were signed, and their digest is right.
unpack() {
	rm -f "$WORK/bad"
	file=$1 format=$2
	shift 2
	{
		case $format in gzip) gunzip -c ;; xz) xzcat ;; zstd) zstd -dc ;; esac <"$file" || echo >"$WORK/bad"
	} 2>"$WORK/errors2" | tar -xf - -C "$@" 2>"$WORK/errors" || echo >"$WORK/bad"
	[ ! -f "$WORK/bad" ] || why "unpacking ${file##*/}: $(cat "$WORK/errors" "$WORK/errors2" | tail -n 1)"
}

# install_slot fetches what the manifest names and unpacks it. A slot has its name only when all of it is on disk.
install_slot() {
	say "installing serial $SERIAL from $SERVER"
	report fetching
	awk '/^(software|configuration) / { print $4, $5, $6, "." } /^scripts / { print $2, $3, $4, ".pomona/init" }' \
		"$WORK/body" >"$WORK/objects" || why "$ROOT cannot be written" || return
	while read -r format bytes hash into; do
		object "$SERVER/objects/sha256/${hash%"${hash#??}"}/$hash" "$bytes" "$hash" || return
	done <"$WORK/objects"
	SLOT=$ROOT/slots/$SERIAL-$(digest "$WORK/manifest" | cut -c 1-8)
	while [ -e "$SLOT" ]; do SLOT=$SLOT+; done # a damaged one that a link still names
	if fill "$SLOT.tmp" && sync && mv "$SLOT.tmp" "$SLOT" && turn; then return; fi
	rm -rf "$SLOT.tmp"
	return 1
}

fill() { # SLOT
	rm -rf "$1"
	while read -r format bytes hash into; do
		[ "$into" = . ] || rm -rf "$1/.pomona" # scripts come last, and nothing else may come here
		mkdir -p "$1/$into" && unpack "$ROOT/cache/$hash" "$format" "$1/$into" || return
	done <"$WORK/objects"
	mkdir -p "$1/.pomona/init" && scripts_in "$1" || return
	while read -r script hash starts; do chmod 0755 "$1/.pomona/init/$script"; done <"$WORK/init"
	{
		lines software | cut -d ' ' -f 1,2,6,7 >"$1/.pomona/software" &&
			lines configuration | cut -d ' ' -f 1,2,6 >"$1/.pomona/configuration" &&
			cp "$WORK/manifest" "$1/.pomona/manifest"
	} || why "$ROOT cannot be written"
}

# turn: `current` names SLOT, and `previous` what could boot before it. Then nothing needs the rest.
turn() {
	if [ "$(readlink "$ROOT/current")" != "slots/${SLOT##*/}" ]; then
		[ -z "$HAVE" ] || link previous "slots/${HAVE##*/}" || return
		link current "slots/${SLOT##*/}" || return
	fi
	sync
	prune_slots
	prune_cache
}

link() { # NAME TARGET
	rm -f "$ROOT/$1.new"
	ln -s "$2" "$ROOT/$1.new" || why "$ROOT cannot be written" || return
	mv -T "$ROOT/$1.new" "$ROOT/$1" 2>/dev/null && return
	rm -f "$ROOT/$1" # a busybox without mv -T: find_installed mends what is interrupted here
	mv "$ROOT/$1.new" "$ROOT/$1" || why "$ROOT cannot be written"
}

prune_slots() {
	for file in "$ROOT"/slots/*; do
		case slots/${file##*/} in
		"$(readlink "$ROOT/current")" | "$(readlink "$ROOT/previous")") ;;
		*) grep -qx "${file##*/}" "$RUN"/.slots/* 2>/dev/null || rm -rf "$file" ;;
		esac
	done
}

prune_cache() {
	for file in "$ROOT"/cache/*; do
		hash=${file##*/}
		grep -q " ${hash%.part}" "$ROOT/current/.pomona/manifest" "$ROOT/previous/.pomona/manifest" 2>/dev/null || rm -f "$file"
	done
}

# --- Delivery -------------------------------------------------------------------------------------------------------

deliver() {
	for SERVER in $SERVERS; do
		if deliver_from; then return; fi
		if ! echo >"$WORK/probe"; then # what is installed needs room to run
			WHY="no space left in $ROOT, $WHY" progress=no
			prune_cache
		fi 2>/dev/null
		[ "$SERVER: $WHY" = "$said" ] || say "$SERVER: $WHY" # once: days without a server fill no disk
		said="$SERVER: $WHY"
	done
	return 1
}

deliver_from() {
	rm -f "$WORK/manifest"
	get "$SERVER${PREVIEW:+/previews/$PREVIEW}/fecs/$NAME/boot.manifest" "$WORK/manifest" 2048 || why "no manifest: $(errors)" || return
	{ manifest "$WORK/manifest" && acceptable; } || why "manifest: $WHY" || return
	if [ "${WANTED:-$SERIAL}" != "$SERIAL" ]; then
		! more "$SERIAL" "$WANTED" || overtaken
		why "it has serial $SERIAL, and $WANTED is wanted" || return
	fi
	if [ -n "$HAVE" ] && cmp -s "$WORK/manifest" "$HAVE/.pomona/manifest"; then
		say "serial $SERIAL is installed already"
		SLOT=$HAVE
		turn
		return
	fi
	install_slot || return
	report installed
}

# overtaken: what is published meanwhile may need more than what was to be restarted. All stays as it was, and whoever asked
# asks again.
overtaken() {
	say "nothing was restarted: serial $SERIAL is published by now, and $WANTED was wanted"
	if read -r state SERIAL slot detail <"$RUN/.before"; then
		SLOT=$ROOT/slots/$slot
		report "$state" "$detail"
	fi
	exit 0
}

# back_off ROUND: waits longer each time, and every FEC a little different from all others.
back_off() {
	pause=$WAIT round=$1
	while [ "$round" -gt 1 ] && [ "$pause" -lt "$WAIT_MAX" ]; do pause=$((pause * 2)) round=$((round - 1)); done
	[ "$pause" -le "$WAIT_MAX" ] || pause=$WAIT_MAX
	jitter=0x$(echo "$NAME $1" | sha256sum | cut -c 1-4)
	sleep $((pause + jitter % (pause + 1)))
}

# choose: SLOT is what boots now, and STATE what that is.
choose() {
	STATE=running rounds=1 progress=no said=''
	until deliver; do
		[ $progress = no ] || rounds=1 progress=no
		if [ -n "$HAVE" ] && [ "$rounds" -ge "$TRIES" ]; then
			STATE=fallback SLOT=$HAVE
			say "booting what is installed: $WHY"
			return
		elif [ -z "$HAVE" ] && [ "$RETRIES" -gt 0 ] && [ "$rounds" -ge "$RETRIES" ]; then
			SLOT=''
			refuse "nothing to boot: $WHY"
		fi
		back_off "$rounds"
		rounds=$((rounds + 1))
	done
	WHY=''
}

data_manifest() {
	get "$SERVER/data/$FEC/data.manifest" "$WORK/data" 2048 || why "no data.manifest: $(errors)" || return
	signed "$WORK/data" 'pomona-data 1' "$DATA_KEYS" && formed "$data_line" pomona-data site fec || return
	[ "$(field site) $(field fec)" = "$SITE $FEC" ] || why "it is for $(field fec) of $(field site)"
}

# restore_data gives the slot the persistent data of this FEC, once: what was written in the slot since is newer. What may be
# restored where, and in which format, the boot manifest says: another key signs data.
restore_data() {
	if ! data_manifest; then
		note "data skipped: $WHY"
		return
	fi
	persistent "$SLOT" >"$WORK/persist"
	while read -r item schema install; do
		mark=$SLOT/.pomona/data/$item
		if [ -L "$SLOT$install" ] && [ ! -e "$SLOT$install" ]; then rm -f "$SLOT$install" "$mark"; fi # it went with a later slot
		[ ! -e "$mark" ] || continue
		# shellcheck disable=SC2046 # words: format, size, digest, path, schema
		set -- $(awk -v name="$item" -v schema="$schema" '$1 == "data" && $2 == name { if ($3 == schema || !found) line = $4 " " $5 " " $6 " " $7 " " $3; found = found || $3 == schema } END { print line }' "$WORK/body")
		[ $# -gt 0 ] || continue # nothing was collected yet
		if [ "$5 $4" != "$schema $install" ]; then
			note "data $item skipped: $5 of $4 was collected, and $schema of $install is wanted"
		elif object "$SERVER/data/$FEC/sha256/$3" "$2" "$3" && unpack "$ROOT/cache/$3" "$1" "$SLOT" "${install#/}"; then
			say "restored data $item"
			mkdir -p "${mark%/*}" && echo "$schema $3 $install" >"$mark"
		else
			note "data $item skipped: $WHY"
		fi
		rm -f "$ROOT/cache/$3"
	done <"$WORK/persist"
}

# tag_data leaves in each folder of persistent data the format that this slot's software writes: who collects it cannot know
# what a FEC runs.
tag_data() {
	persistent "$SLOT" >"$WORK/persist"
	while read -r item schema install; do
		[ ! -L "$SLOT$install" ] || continue # it went with a later slot
		{ mkdir -p "$SLOT$install" && echo "$schema" >"$SLOT$install/.pomona-format"; } || note "data $item not tagged"
	done <"$WORK/persist"
}

persistent() { sed -n 's/^persist //p' "$1/.pomona/manifest"; } # of a slot: name, schema and path of its data

# run_script NAME [SOFTWARE VERSION INSTALL] executes one init script of SLOT. Its output goes to a file, so that a daemon
# that it leaves behind keeps nobody waiting.
run_script() {
	say "running $1"
	above=$(wc -l <"$LOG")
	(
		cd "$SLOT" || exit
		export POMONA_FEC="$FEC" POMONA_HOST="$HOST" POMONA_SITE="$SITE" POMONA_CHANNEL="$CHANNEL"
		export POMONA_PLATFORM="$PLATFORM" POMONA_SERIAL="$SERIAL" POMONA_SLOT="$SLOT" POMONA_RUN="$RUN"
		[ $# = 1 ] || export POMONA_SOFTWARE="$2" POMONA_VERSION="$3" POMONA_INSTALL="$SLOT$4"
		exec "$SLOT/.pomona/init/$1" ${ACTION:+"$ACTION"}
	) </dev/null >>"$LOG" 2>&1
	status=$?
	tail -n "+$((above + 1))" "$LOG"
	return "$status"
}

# software_of NAME: its words in SLOT: name, version, install path, start or hold.
software_of() { awk -v name="$1" '$1 == name' "$SLOT/.pomona/software"; }

# run_scripts, in the order of their bytes. A script that starts software is skipped while that is on hold.
run_scripts() {
	[ -n "$RESTART" ] || echo "${SLOT##*/}" >"$RUN/.slots/-"
	while read -r script hash starts; do
		case $RESTART in '' | *" $starts "*) ;; *) continue ;; esac
		set -- "$script"
		if [ "$starts" != - ]; then
			# shellcheck disable=SC2046 # words
			set -- "$script" $(software_of "$starts")
			if [ "${5:-hold}" = hold ]; then
				say "$script skipped: $starts is on hold"
				continue
			fi
			echo "${SLOT##*/}" >"$RUN/.slots/$starts"
		fi
		run_script "$@" && continue
		say "$script failed with status $?"
		[ -z "$DEV" ] || exit 1 # the FEC's state is what its boot came to
		report init-failed "$script failed with status $status"
		exit 1
	done <"$WORK/init"
}

# --- Restarts -------------------------------------------------------------------------------------------------------

# stop_all stops the software that is restarted, what was started last first. WORK/init is the new slot's.
stop_all() {
	next=$SLOT
	for software in $({ sort -r "$WORK/init" | cut -d ' ' -f 3 && echo "$RESTART" | tr ' ' '\n'; } |
		awk -v all="$RESTART" '$1 != "" && index(all, " " $1 " ") && !seen[$1]++'); do
		stop "$software"
	done
	SLOT=$next
}

# stop SOFTWARE: by those of its init scripts that say in a line "# pomona: stop" that they do it when their argument is
# stop, and then by ending its processes.
stop() {
	SLOT=$ROOT/slots/$(cat "$RUN/.slots/$1" 2>/dev/null)
	if [ "$SLOT" != "$ROOT/slots/" ] && whole "$SLOT"; then
		sort -r "$WORK/init" >"$WORK/stops"
		while read -r script hash starts; do
			if [ "$starts" = "$1" ] && grep -qx '# pomona: stop' "$SLOT/.pomona/init/$script"; then
				ACTION=stop
				# shellcheck disable=SC2046 # words
				run_script "$script" $(software_of "$1") || say "$script failed to stop $1: status $status"
				ACTION=''
			fi
		done <"$WORK/stops"
	fi
	for signal in TERM KILL; do
		waited=0
		while pids=$(processes "$1") && [ -n "$pids" ] && [ "$waited" -lt "$STOP" ]; do
			# shellcheck disable=SC2086 # words
			[ "$waited" -gt 0 ] || kill -s "$signal" $pids 2>/dev/null
			sleep 1
			waited=$((waited + 1))
		done
	done
	[ -z "$pids" ] || say "$1 does not end: $(echo "$pids" | tr '\n' ' ')"
	rm -f "$RUN/.slots/$1"
	[ -n "$DEV" ] || rm -f "$RUN/.slots/$1:dev"
}

# processes SOFTWARE: all that have it in the environment that its init script gave them. One tail reads all: a process for
# each would take a slow FEC half a minute.
processes() {
	tail -n +1 /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | awk -v software="POMONA_SOFTWARE=$1" -v run="POMONA_RUN=$RUN" '
		/^==> \/proc\/[0-9]+\/environ <==$/ { split($2, path, "/"); seen = 0 }
		$0 == software || $0 == run { if (++seen == 2) print path[3] }'
}

# carry_data moves the data of the slot that ran into the new one if that wants the same, and leaves a link: what goes on
# running writes there, too.
carry_data() {
	persistent "$SLOT" >"$WORK/persist"
	while read -r item schema install; do
		if [ -L "$HAVE$install" ] || [ ! -d "$HAVE$install" ] || ! grep -qxF "persist $item $schema $install" "$HAVE/.pomona/manifest"; then continue; fi
		rm -rf "$SLOT$install"
		{ mkdir -p "$SLOT${install%/*}" "$SLOT/.pomona/data" && mv "$HAVE$install" "$SLOT$install" &&
			ln -s "$SLOT$install" "$HAVE$install" && echo "$schema - $install" >"$SLOT/.pomona/data/$item"; } || note "data $item not carried over"
	done <"$WORK/persist"
}

# --- Development ----------------------------------------------------------------------------------------------------

# developed prints software and version of what developers have put here.
developed() {
	for file in "$RUN"/.slots/*:dev; do [ ! -f "$file" ] || sed -n 3p "$file"; done
}

# put SOFTWARE VERSION SHA256 PATH: a slot of its own for the archive on standard input. It stands on the one that is
# installed, by links.
put() {
	cat >"$WORK/archive" || refuse "$ROOT cannot be written"
	[ "$(digest "$WORK/archive")" = "$3" ] || refuse 'what came is not what was sent'
	SLOT=$HAVE-dev-$1
	while [ -e "$SLOT" ]; do SLOT=$SLOT+; done
	branch "$HAVE" "$SLOT" "$4"
	awk -v name="$1" '$1 != name' "$HAVE/.pomona/software" >"$SLOT/.pomona/software"
	echo "$1 $2 $4 start" >>"$SLOT/.pomona/software"
	if ! unpack "$WORK/archive" gzip "$SLOT" || [ ! -e "$SLOT$4" ]; then
		rm -rf "$SLOT"
		refuse "${WHY:-the archive has no $4}"
	fi
	rm -f "$WORK/archive"
	printf '%s\n' "${SLOT##*/}" "${HAVE##*/}" "$1 $2" >"$RUN/.slots/$1:dev"
	say "$1 $2 is in $SLOT$4"
}

# branch BASE SLOT PATH: SLOT is BASE, but the folders above PATH are its own, and PATH is not there.
branch() {
	mkdir -p "$2/.pomona"
	for file in "$1"/.pomona/*; do [ "${file##*/}" = software ] || ln -s "$file" "$2/.pomona/"; done
	from=$1 into=$2 rest=${3#/}/
	while [ -n "$rest" ]; do
		mkdir -p "$into"
		for file in "$from"/* "$from"/.[!.]*; do
			case ${file##*/} in
			"${rest%%/*}" | .pomona | '*' | '.[!.]*') ;;
			*) ln -s "$file" "$into/" ;;
			esac
		done
		from=$from/${rest%%/*} into=$into/${rest%%/*} rest=${rest#*/}
	done
}

# develop VERB SOFTWARE... changes what runs of it, and leaves the FEC's state as its boot has left it.
develop() {
	[ -n "$HAVE" ] || refuse 'nothing is installed'
	DEV=$1 RESTART=" $2 "
	shift
	case $DEV in
	put) put "$@" ;;
	start|stop) [ -f "$RUN/.slots/$1:dev" ] || refuse "no $1 was put here since the last boot" ;;
	drop) rm -f "$RUN/.slots/$1:dev" ;;
	*) refuse "$DEV?" ;;
	esac
	[ "$DEV" = put ] || run_again "$1"
	prune_slots
	if read -r state SERIAL slot detail <"$RUN/state"; then
		SLOT=$ROOT/slots/$slot
		report "$state" "$detail"
	fi
}

# run_again SOFTWARE stops it, and starts it unless that is all.
run_again() {
	SLOT=$HAVE
	[ ! -f "$RUN/.slots/$1:dev" ] || SLOT=$ROOT/slots/$(head -n 1 "$RUN/.slots/$1:dev")
	whole "$SLOT" || refuse "${SLOT##*/} cannot run: $WHY"
	stop_all
	[ "$DEV" != stop ] || return 0
	whole "$SLOT" || refuse "${SLOT##*/} cannot run: $WHY"
	grep -q " $1\$" "$WORK/init" || say "no init script starts $1"
	run_scripts
}

settings
RESTART='' WANTED=${POMONA_WANTED:-}
unset POMONA_WANTED # no init script needs it
[ "${1:-}" != --dev ] || DEV=yes
if [ "${1:-}" = --restart ]; then
	shift
	RESTART=" $* " RETRIES=$TRIES
fi
case $RESTART in *[!A-Za-z0-9._+@\ -]*) refuse "malformed software $RESTART" ;; esac
case $NAME in '' | [.-]* | *[!a-z0-9.-]*) refuse "malformed name $NAME" ;; esac
case $PREVIEW in 0* | *[!0-9]*) refuse "malformed preview $PREVIEW" ;; esac
[ -n "$SERVERS" ] || refuse 'no server is known'
lock
SERVER=${SERVERS%% *}
find_verifier
find_installed
if [ -n "$DEV" ]; then
	shift
	develop "$@"
	exit 0
fi
choose
reason=$WHY
[ -z "$RESTART" ] || [ "$STATE" = running ] || refuse "nothing was restarted: $reason"
whole "$SLOT" || refuse "${SLOT##*/} cannot boot: $WHY"
if [ -n "$RESTART" ]; then
	stop_all
	[ "$HAVE" = "$SLOT" ] || carry_data
	whole "$SLOT" || refuse "${SLOT##*/} cannot boot: $WHY"
fi
clock_set || note 'clock not set, expiry unchecked'
! expired || note stale
if [ "$DATA" = yes ]; then
	restore_data
	tag_data
fi
run_scripts
say "$STATE: serial $SERIAL${NOTES:+, $NOTES}"
report "$STATE" "$reason"
