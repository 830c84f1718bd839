# shellcheck shell=sh
# table FILE prints a FEC's software list in columns, one space apart.
table() {
	while read -r name version _ start; do
		printf '%s %s %s\n' "$name" "$version" "$start"
	done <"$1"
}
