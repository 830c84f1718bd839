# shellcheck shell=sh
# table FILE prints a FEC's software list in columns, with a heading.
table() {
	printf '%-20s %-10s %s\n' software version start
	while read -r name version _ start; do
		printf '%-20s %-10s %s\n' "$name" "$version" "$start"
	done <"$1"
}
