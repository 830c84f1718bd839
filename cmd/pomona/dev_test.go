package main

import (
	"strings"
	"testing"
)

func TestWhatAFECSaysIsNoOrderToATerminal(t *testing.T) {
	var out strings.Builder
	b := bench{out: &out}
	b.quote("lin2mg01", "pomona-boot: ramp\tα \x1b[2J\x1b]52;c;x\x07")
	if want := "lin2mg01: ramp    α \\x1b[2J\\x1b]52;c;x\\a\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
