#!/bin/sh
# pomona-boot brings a front-end computer (FEC) to the release that its site publishes and runs its init scripts.
# It needs busybox as a Yocto image ships it and one verifier of signatures. Manual: docs/boot.md.
#
# A boot fetches the manifest and verifies it, fetches the objects that the manifest names, unpacks them into a new
# slot, turns the link `current`, and runs the slot's init scripts. When delivery fails, the installed slot boots.
#
# State folder, POMONA_ROOT; a power cut at any moment leaves it usable:
#   slots/SERIAL-HASH  an unpacked release; never changed or removed while a link names it
#   current previous   links to two slots
#   cache/SHA256       archives of these two slots; .part: a download to resume
#   serial             the newest serial accepted; an older manifest is a replay
#   run/               boot.log and state; emptied at each boot
#   lock               a link that names the client at work
#
# Exit status: 0 booted, 1 an init script failed, 2 nothing to boot or refused.
set -u
LC_ALL=C
export LC_ALL
umask 022

# Fixed when the site's client was rendered.
SITE=@SITE@
CHANNEL=@CHANNEL@
SERVERS=@SERVERS@
REQUIRE_FRESH=@REQUIRE_FRESH@
ALLOW_UNVERIFIED=@ALLOW_UNVERIFIED@
CLIENT=1 # version of this client, for reports

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
		esac
	done
	SERVERS=$(echo "${POMONA_SERVER:-$SERVERS}" | tr ',' ' ')
	NAME=$(echo "${POMONA_FEC:-$(hostnomen 2>/dev/null || hostname)}" | tr 'A-Z' 'a-z')
	ROOT=${POMONA_ROOT:-/var/lib/pomona}
	KEYS=${POMONA_KEYS:-/etc/pomona/keys}
	DATA_KEYS=${POMONA_DATA_KEYS:-/etc/pomona/data-keys}
	TRIES=${POMONA_TRIES:-3}      # rounds over all servers when a release is installed
	RETRIES=${POMONA_RETRIES:-0}  # rounds when none is; 0: for ever
	WAIT=${POMONA_WAIT:-2}        # seconds before the second round; doubles up to POMONA_WAIT_MAX
	WAIT_MAX=${POMONA_WAIT_MAX:-120}
	STALL=${POMONA_STALL:-20} # seconds after which a transfer without progress is ended
	if has wget; then DOWNLOADER=wget; else DOWNLOADER=curl; fi
	RUN=$ROOT/run WORK=$ROOT/work
	FEC=${NAME%%.*} SERIAL=0 SLOT='' HAVE='' SERVER='' WHY='' NOTES='' LOG=/dev/null VERIFIER=''
}

say() {
	echo "pomona-boot: $*"
	echo "$(date '+%Y-%m-%d %H:%M:%S') $*" >>"$LOG"
}
why() { # remembers why something failed, and fails
	WHY=$*
	return 1
}
note() { NOTES=${NOTES:+$NOTES, }$*; }
has() { command -v "$1" >/dev/null 2>&1; }
refuse() {
	say "refused: $*"
	report failed "$*"
	exit 2
}

# Numbers are compared by awk: the shell's own have 32 bits.
more() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 > b + 0) }'; }
size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }
digest() { sha256sum <"$1" | cut -c 1-64; }
intact() { [ -f "$1" ] && [ "$(size "$1")" = "$2" ] && [ "$(digest "$1")" = "$3" ]; }
number() { case $1 in '' | *[!0-9]*) echo 0 ;; *) echo "$1" ;; esac }
minutes() { # since 1970
	seconds=$(date +%s)
	echo $((${seconds%?} / 6))
}

# --- One client at a time -------------------------------------------------------------------------------------------

# identity PID: a process by its start and this run of the kernel, so that a reused number is nobody.
identity() { echo "$1.$(cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null).$(cat /proc/sys/kernel/random/boot_id)"; }

lock() {
	mkdir -p "$ROOT/slots" "$ROOT/cache" || refuse "$ROOT cannot be written"
	me=$(identity $$)
	until ln -s "$me" "$ROOT/lock" 2>/dev/null; do # a link appears with its content, in one step
		holder=$(readlink "$ROOT/lock") || refuse "$ROOT/lock cannot be made"
		[ "$(identity "${holder%%.*}")" != "$holder" ] || refuse "process ${holder%%.*} is booting from $ROOT"
		# Two clients may find the same dead holder; one of them may by now have moved a living one's link away.
		mv "$ROOT/lock" "$ROOT/lock.$$" 2>/dev/null || continue
		[ "$(readlink "$ROOT/lock.$$")" = "$holder" ] || ln -s "$(readlink "$ROOT/lock.$$")" "$ROOT/lock"
		rm -f "$ROOT/lock.$$"
	done
	trap 'rm -f "$ROOT/lock"' EXIT
	trap 'exit 2' HUP INT TERM
	rm -rf "$RUN" "$WORK"
	mkdir -p "$RUN" "$WORK" && LOG=$RUN/boot.log
}

# --- Transfers ------------------------------------------------------------------------------------------------------

# get URL FILE BLOCKS [resume]: at most BLOCKS of 512 bytes, so that no server fills the disk. A status of 0 promises
# nothing: wget takes a connection that was cut for the end where the server gave no length.
get() {
	case $DOWNLOADER${4:-} in
	wget) transfer "$STALL" "$2" "$3" wget -q -O "$2" "$1" ;;
	wgetresume) transfer "$STALL" "$2" "$3" wget -q -c -O "$2" "$1" ;;
	curl) transfer "$STALL" "$2" "$3" curl -fsSL -o "$2" "$1" ;;
	curlresume) transfer "$STALL" "$2" "$3" curl -fsSL -C - -o "$2" "$1" ;;
	esac
}

# transfer SECONDS FILE BLOCKS COMMAND...: runs COMMAND, and ends it when FILE has not grown for SECONDS. Not every
# busybox has wget -T, and none of Yocto's has timeout.
transfer() {
	seconds=$1 into=$2 blocks=$3
	shift 3
	(ulimit -f "$blocks" && exec "$@") </dev/null >/dev/null 2>"$WORK/errors" &
	pid=$!
	watch "$seconds" "$pid" "$into" </dev/null >/dev/null 2>&1 &
	watcher=$!
	wait "$pid"
	status=$?
	kill "$watcher" 2>/dev/null
	[ "$status" != 33 ] || rm -f "$into" # curl: the server cannot resume
	return "$status"
}

watch() { # SECONDS PID FILE
	was=-1
	while sleep "$1"; do
		is=$(size "$3")
		[ "$is" != "$was" ] || kill "$2"
		was=$is
	done
}

errors() { tail -n 1 "$WORK/errors" 2>/dev/null; }

# object URL SIZE SHA256 brings one object into the cache. What was cut is resumed by the next round; what is corrupt,
# perhaps because a part was, is fetched once more from its start.
object() {
	file=$ROOT/cache/$3 part=$ROOT/cache/$3.part
	intact "$file" "$2" "$3" && return 0
	blocks=$(awk -v n="$2" 'BEGIN { printf "%d", n / 512 + 2 }')
	for again in yes no; do
		had=$(size "$part")
		[ "$had" = "$2" ] || get "$1" "$part" "$blocks" resume
		if intact "$part" "$2" "$3"; then
			progress=yes
			mv -f "$part" "$file" && return 0
		fi
		if more "$2" "$(size "$part")"; then
			[ "$(size "$part")" = "$had" ] || progress=yes
			why "got $(size "$part") of $2 bytes of $1: $(errors)"
			return 1
		fi
		rm -f "$part"
		[ $again = no ] || say "$1 is corrupt, fetching it again"
	done
	why "$1 is corrupt"
}

# report STATE [DETAIL] tells the server, best effort: nothing here stops a boot.
report() {
	detail=$(echo "${2:-}${2:+${NOTES:+, }}$NOTES")
	[ -n "$VERIFIER" ] || detail="unverified${detail:+, }$detail"
	[ ! -d "$RUN" ] || echo "$1 $SERIAL ${SLOT##*/} $detail" >"$RUN/state"
	[ "${POMONA_REPORT:-yes}" = yes ] && [ -n "$SERVER" ] && [ -d "$WORK" ] || return 0
	detail=$(echo "$detail" | cut -c 1-400 | tr -c 'A-Za-z0-9._:/,()\n-' ' ' | tr ' ' '+')
	form="fec=$FEC&serial=$SERIAL&state=$1&slot=${SLOT##*/}&detail=$detail&client=$CLIENT"
	url=$SERVER/-/report
	post "$url" "$form" || tell "$url?$form" || say "nobody takes reports at $SERVER" # a static server logs the second
}
post() {
	case $DOWNLOADER in
	wget) transfer 3 "$WORK/answer" 64 wget -q -O "$WORK/answer" --post-data "$2" "$1" ;;
	curl) transfer 3 "$WORK/answer" 64 curl -fsS -o "$WORK/answer" --data "$2" "$1" ;;
	esac
}
tell() { STALL=3 get "$1" "$WORK/answer" 64; }

# --- Manifests ------------------------------------------------------------------------------------------------------

find_verifier() {
	for found in usign signify-openbsd signify openssl pomona-verify; do
		has "$found" || continue
		case $found$(openssl version 2>/dev/null) in openssl*' '[012].*) continue ;; esac # raw Ed25519 is new in 3.0
		VERIFIER=$found
		break
	done
	[ -n "$VERIFIER" ] || WHY='no program verifies signatures: want usign, signify, openssl 3 or pomona-verify'
	for key in "$KEYS"/*.pub; do [ -f "$key" ] || { VERIFIER='' WHY="no public keys in $KEYS"; }; done
	[ -z "$VERIFIER" ] || return 0
	[ "$ALLOW_UNVERIFIED" = 1 ] || refuse "$WHY"
	say "signatures are NOT verified: $WHY"
}

# accepts KEY: the signature in work/sig is KEY's word on work/body. Both start with the same key number.
accepts() {
	[ "$(sed -n 2p "$1" | cut -c 1-13)" = "$(sed -n 2p "$WORK/sig" | cut -c 1-13)" ] || return 1
	case $VERIFIER in
	usign) usign -V -q -m "$WORK/body" -p "$1" -x "$WORK/sig" ;;
	signify*) "$VERIFIER" -V -q -p "$1" -x "$WORK/sig" -m "$WORK/body" ;;
	pomona-verify) pomona-verify "$1" "$WORK/sig" "$WORK/body" ;;
	openssl) # wants DER, RFC 8410: twelve fixed bytes and the key
		{
			printf '\060\052\060\005\006\003\053\145\160\003\041\000'
			sed -n 2p "$1" | openssl base64 -d -A | tail -c 32
		} >"$WORK/key.der"
		sed -n 2p "$WORK/sig" | openssl base64 -d -A | tail -c 64 >"$WORK/sig.raw"
		openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key.der" -rawin -in "$WORK/body" -sigfile "$WORK/sig.raw"
		;;
	esac >/dev/null 2>&1
}

# signed FILE HEADER KEYS: cuts the signatures off FILE, which leaves work/body, and checks that one of them is by one of
# the KEYS. While a key is being replaced there are two signatures.
signed() {
	first=$(awk -v header="$2" '$0 == header { print NR; exit }' "$1")
	case $first in [13579] | 1[1357]) ;; *) why 'it is cut or no manifest' || return 1 ;; esac
	tail -n "+$first" "$1" >"$WORK/body"
	[ -n "$VERIFIER" ] || return 0
	line=1
	while [ "$line" -lt "$first" ]; do
		sed -n "${line},$((line + 1))p" "$1" >"$WORK/sig"
		for key in "$3"/*.pub; do
			if accepts "$key"; then return 0; fi
		done
		line=$((line + 2))
	done
	why "no key in $3 has signed it as it is"
}

# What each line must look like. Nothing else is ever used as a name, a path or a number.
name='[A-Za-z0-9_][A-Za-z0-9._+@-]*'
integer='(0|[1-9][0-9]{0,12})'
archive="(gzip|xz|zstd) $integer [0-9a-f]{64}"
install='(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+'
boot_line="(site|channel|fec|host|platform) $name|(serial|expires) $integer|data (yes|no)\
|software $name $name $archive $install (start|hold)|configuration $name $name $archive $install\
|scripts $archive|init $name [0-9a-f]{64} (-|$name)"
data_line="(site|fec) $name|data $name $name $archive $install"

# formed LINE FIRST...: work/body is whole, its lines are like LINE, and those at its start have these FIRST words.
formed() {
	[ "$(tail -n 1 "$WORK/body")" = "end $(($(wc -l <"$WORK/body") - 1))" ] || why 'it is cut' || return 1
	[ "$(tr -d '\n -~' <"$WORK/body" | wc -c)" -eq 0 ] || why 'it is no text' || return 1
	bad=$(sed '1d;$d' "$WORK/body" | grep -Ev "^($1)\$" | head -n 1)
	[ -z "$bad" ] || why "malformed line: $bad" || return 1
	shift
	[ "$(head -n $# "$WORK/body" | cut -d ' ' -f 1 | tr '\n' ' ')" = "$* " ] || why 'its first lines are not as they must be'
}

lines() { sed -n "s/^$1 //p" "$WORK/body"; }
field() { lines "$1" | head -n 1; }

# same A B: two host names, of which one may lack its domain.
same() { [ "$1" = "$2" ] || [ "$1" = "${2%%.*}" ] || [ "${1%%.*}" = "$2" ]; }

# manifest FILE: verifies a boot manifest and that it is for this FEC, and reads it.
manifest() {
	signed "$1" 'pomona-boot 1' "$KEYS" || return 1
	formed "$boot_line" pomona-boot site channel fec host platform serial expires data || return 1
	[ "$(field site)" = "$SITE" ] || why "it is for site $(field site), not $SITE" || return 1
	[ "$(field channel)" = "$CHANNEL" ] || why "it is for channel $(field channel), not $CHANNEL" || return 1
	same "$(field fec)" "$NAME" || same "$(field host)" "$NAME" || why "it is for $(field fec), not $NAME" || return 1
	PLATFORM=$(field platform)
	[ "${POMONA_PLATFORM:-$PLATFORM}" = "$PLATFORM" ] || why "it is for platform $PLATFORM, not $POMONA_PLATFORM" || return 1
	FEC=$(field fec) HOST=$(field host) SERIAL=$(field serial) EXPIRES=$(field expires) DATA=$(field data)
}

clock_set() { more "$(minutes)" 28401120; } # 2024 has begun
expired() { clock_set && more "$(minutes)" "$EXPIRES"; }
fresh() { # for sites that demand it: a clock that is not set proves nothing
	[ "$REQUIRE_FRESH" = 0 ] && return 0
	clock_set || why 'the clock is not set, and the site demands fresh manifests' || return 1
	! expired || why 'it has expired, and the site demands fresh manifests'
}

# acceptable: the manifest may replace what is installed.
acceptable() {
	! more "$SEEN" "$SERIAL" || why "replay: serial $SERIAL is older than $SEEN" || return 1
	fresh || return 1
	if expired && [ -n "$HAVE" ] && ! cmp -s "$WORK/manifest" "$HAVE/.pomona/manifest"; then
		why 'it has expired, and a release is installed'
		return 1
	fi
	more "$SERIAL" "$SEEN" || return 0
	SEEN=$SERIAL
	echo "$SEEN" >"$WORK/serial" && mv -f "$WORK/serial" "$ROOT/serial" || why "$ROOT cannot be written"
}

# --- Slots ----------------------------------------------------------------------------------------------------------

# scripts_in SLOT: every init script of the manifest is there as it was signed.
scripts_in() {
	lines init >"$WORK/scripts"
	while read -r script hash _; do
		file=$1/.pomona/init/$script
		[ -f "$file" ] && [ ! -L "$file" ] && [ "$(digest "$file")" = "$hash" ] ||
			why "init script $script is not the one that was signed" || return 1
	done <"$WORK/scripts"
}

# whole SLOT: it is bootable, as far as that shows without reading all of it. Its manifest is the one read last.
whole() {
	manifest "$1/.pomona/manifest" 2>/dev/null && fresh && scripts_in "$1" || return 1
	case ${1##*/} in
	"$SERIAL-$(digest "$1/.pomona/manifest" | cut -c 1-8)"*) ;;
	*) why "its manifest is another slot's" || return 1 ;;
	esac
	for path in $(awk '/^(software|configuration) / { print $7 }' "$WORK/body"); do
		[ -e "$1$path" ] || why "$path is missing" || return 1
	done
}

# find_installed: HAVE is the slot to boot when nothing newer arrives; SEEN is the newest serial known.
find_installed() {
	for link in current previous; do # finish what turn was doing when the power went
		if [ ! -L "$ROOT/$link" ] && [ -L "$ROOT/$link.new" ]; then mv "$ROOT/$link.new" "$ROOT/$link"; fi
		rm -f "$ROOT/$link.new"
	done
	prune_slots
	SEEN=0
	current=$(readlink "$ROOT/current")
	current=${current#slots/}
	for serial in "$(cat "$ROOT/serial" 2>/dev/null)" "${POMONA_MIN_SERIAL:-}" "${current%%-*}"; do
		serial=$(number "$serial")
		! more "$serial" "$SEEN" || SEEN=$serial
	done
	for link in current previous; do
		target=$(readlink "$ROOT/$link") || continue
		if whole "$ROOT/$target"; then
			HAVE=$ROOT/$target
			return 0
		fi
		say "$link is $target, which cannot boot: $WHY"
	done
}

# unpack FILE FORMAT FOLDER [MEMBER]: archives have passed a linter before they were signed, and their digest here.
unpack() {
	rm -f "$WORK/bad"
	{
		case $2 in gzip) gunzip -c ;; xz) xzcat ;; zstd) zstd -dc ;; esac <"$1" || echo >"$WORK/bad"
	} 2>"$WORK/bad.text" | if [ -n "${4:-}" ]; then tar -xf - -C "$3" "$4"; else tar -xf - -C "$3"; fi 2>"$WORK/errors" &&
		[ ! -f "$WORK/bad" ] || why "unpacking ${1##*/}: $(cat "$WORK/bad.text" "$WORK/errors" | tail -n 1)"
}

# install_slot: fetches what the manifest names and unpacks it. A slot has its name only when all of it is on disk.
install_slot() {
	say "installing serial $SERIAL from $SERVER"
	report fetching
	awk '/^(software|configuration) / { print $4, $5, $6, $1 } /^scripts / { print $2, $3, $4, $1 }' "$WORK/body" >"$WORK/objects"
	while read -r _ bytes hash _; do
		object "$SERVER/objects/sha256/${hash%"${hash#??}"}/$hash" "$bytes" "$hash" || return 1
	done <"$WORK/objects"
	SLOT=$ROOT/slots/$SERIAL-$(digest "$WORK/manifest" | cut -c 1-8)
	while [ -e "$SLOT" ]; do SLOT=$SLOT+; done # a damaged one that a link still names
	fill "$SLOT.tmp" && sync && mv "$SLOT.tmp" "$SLOT" && turn && return 0
	rm -rf "$SLOT.tmp"
	return 1
}

fill() {
	rm -rf "$1"
	mkdir -p "$1" || why "$ROOT cannot be written" || return 1
	while read -r format _ hash kind; do
		[ "$kind" = scripts ] || unpack "$ROOT/cache/$hash" "$format" "$1" || return 1
	done <"$WORK/objects"
	rm -rf "$1/.pomona"
	mkdir -p "$1/.pomona/init" || why "$ROOT cannot be written" || return 1
	while read -r format _ hash kind; do
		[ "$kind" != scripts ] || unpack "$ROOT/cache/$hash" "$format" "$1/.pomona/init" || return 1
	done <"$WORK/objects"
	scripts_in "$1" || return 1
	while read -r script _; do chmod 0755 "$1/.pomona/init/$script"; done <"$WORK/scripts"
	lines software | cut -d ' ' -f 1,2,6,7 >"$1/.pomona/software" &&
		lines configuration | cut -d ' ' -f 1,2,6 >"$1/.pomona/configuration" &&
		cp "$WORK/manifest" "$1/.pomona/manifest" || why "$ROOT cannot be written"
}

# turn: `current` names SLOT and `previous` what was bootable before. Then nothing needs the rest.
turn() {
	if [ "$(readlink "$ROOT/current")" != "slots/${SLOT##*/}" ]; then
		[ -z "$HAVE" ] || link previous "slots/${HAVE##*/}" || return 1
		link current "slots/${SLOT##*/}" || return 1
	fi
	sync
	prune_slots
	for file in "$ROOT"/cache/*; do
		hash=${file##*/}
		grep -q " ${hash%.part}" "$ROOT/current/.pomona/manifest" "$ROOT/previous/.pomona/manifest" 2>/dev/null || rm -f "$file"
	done
}

link() { # NAME TARGET
	rm -f "$ROOT/$1.new"
	ln -s "$2" "$ROOT/$1.new" || why "$ROOT cannot be written" || return 1
	mv -T "$ROOT/$1.new" "$ROOT/$1" 2>/dev/null && return 0
	rm -f "$ROOT/$1" # a busybox without mv -T; find_installed mends what is interrupted here
	mv "$ROOT/$1.new" "$ROOT/$1" || why "$ROOT cannot be written"
}

prune_slots() {
	for slot in "$ROOT"/slots/*; do
		case slots/${slot##*/} in
		"$(readlink "$ROOT/current")" | "$(readlink "$ROOT/previous")") ;;
		*) rm -rf "$slot" ;;
		esac
	done
}

# --- Delivery -------------------------------------------------------------------------------------------------------

deliver() {
	for SERVER in $SERVERS; do
		if deliver_from; then return 0; fi
		say "$SERVER: $WHY"
		case $WHY in *'No space'*) rm -f "$ROOT"/cache/*.part ;; esac # the installed release may need it
	done
	return 1
}

deliver_from() {
	rm -f "$WORK/manifest"
	get "$SERVER/fecs/$NAME/boot.manifest" "$WORK/manifest" 2048 || why "no manifest: $(errors)" || return 1
	manifest "$WORK/manifest" && acceptable || why "manifest: $WHY" || return 1
	if [ -n "$HAVE" ] && cmp -s "$WORK/manifest" "$HAVE/.pomona/manifest"; then
		say "serial $SERIAL is installed already"
		SLOT=$HAVE
		turn
		return
	fi
	install_slot || return 1
	report installed
}

# back_off ROUND: waits longer each time, and every FEC a little different from all others.
back_off() {
	pause=$WAIT round=$1
	while [ "$round" -gt 1 ] && [ "$pause" -lt "$WAIT_MAX" ]; do pause=$((pause * 2)) round=$((round - 1)); done
	[ "$pause" -le "$WAIT_MAX" ] || pause=$WAIT_MAX
	seed=$(printf %s "$NAME$1" | sha256sum | cut -c 1-4)
	sleep $((pause + 0x$seed % (pause + 1)))
}

# choose: SLOT is what boots now, STATE what that is.
choose() {
	STATE=running rounds=1 progress=no
	until deliver; do
		[ $progress = no ] || rounds=1 progress=no
		if [ -n "$HAVE" ] && [ "$rounds" -ge "$TRIES" ]; then
			STATE=fallback SLOT=$HAVE
			say "booting the installed release: $WHY"
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

# restore_data gives the slot the persistent data of this FEC, once: what the slot has got since is newer. An archive
# is unpacked only below its own path, because data is signed by another key than releases.
restore_data() {
	rm -f "$WORK/data"
	{ get "$SERVER/data/$FEC/data.manifest" "$WORK/data" 2048 || why "no data.manifest: $(errors)"; } &&
		signed "$WORK/data" 'pomona-data 1' "$DATA_KEYS" && formed "$data_line" pomona-data site fec &&
		{ [ "$(field site) $(field fec)" = "$SITE $FEC" ] || why "it is for $(field fec)"; } ||
		{ note "data skipped: $WHY" && return; }
	lines data >"$WORK/data"
	while read -r item schema format bytes hash path; do
		mark=$SLOT/.pomona/data/$item
		[ ! -e "$mark" ] || continue
		if object "$SERVER/data/$FEC/sha256/$hash" "$bytes" "$hash" &&
			unpack "$ROOT/cache/$hash" "$format" "$SLOT" "${path#/}"; then
			say "restored data $item"
			mkdir -p "${mark%/*}" && echo "$schema $hash" >"$mark"
		else
			note "data $item skipped: $WHY"
		fi
		rm -f "$ROOT/cache/$hash"
	done <"$WORK/data"
}

# run_script NAME STARTS executes one init script of SLOT. Its output goes to a file, so that a daemon that it leaves
# behind keeps nobody waiting.
run_script() {
	if [ "$2" != - ]; then
		# shellcheck disable=SC2046 # words: name, version, install path, start or hold
		set -- "$1" $(awk -v name="$2" '$1 == name' "$SLOT/.pomona/software")
		[ "${5:-hold}" = start ] || { say "$1 skipped: ${2:-its software} is on hold" && return 0; }
	else
		set -- "$1"
	fi
	say "running $1"
	above=$(wc -l <"$LOG")
	(
		cd "$SLOT" || exit
		export POMONA_FEC="$FEC" POMONA_HOST="$HOST" POMONA_SITE="$SITE" POMONA_CHANNEL="$CHANNEL"
		export POMONA_PLATFORM="$PLATFORM" POMONA_SERIAL="$SERIAL" POMONA_SLOT="$SLOT" POMONA_RUN="$RUN"
		[ $# = 1 ] || export POMONA_SOFTWARE="$2" POMONA_VERSION="$3" POMONA_INSTALL="$SLOT$4"
		exec "$SLOT/.pomona/init/$1"
	) </dev/null >>"$LOG" 2>&1
	status=$?
	tail -n "+$((above + 1))" "$LOG"
	return "$status"
}

boot() {
	manifest "$SLOT/.pomona/manifest" || refuse "$SLOT: $WHY" # WHY stays what delivery left in it
	lines init | sort >"$WORK/init"
	clock_set || note 'clock not set, expiry unchecked'
	! expired || note stale
	[ "$DATA" = no ] || restore_data
	while read -r script _ starts; do
		run_script "$script" "$starts" && continue
		say "$script failed with status $status"
		report init-failed "$script failed with status $status"
		exit 1
	done <"$WORK/init"
	say "$STATE: serial $SERIAL${NOTES:+, $NOTES}"
	report "$STATE" "$reason"
}

settings
case $NAME in '' | [.-]* | *[!a-z0-9.-]*) refuse "malformed name $NAME" ;; esac
[ -n "$SERVERS" ] || refuse 'no server is known'
lock
SERVER=${SERVERS%% *}
find_verifier
find_installed
choose
reason=$WHY
boot
