package main

import (
	"os"
	"testing"
)

// TestReportsNameKnownFECs by nomenclature or host; another generation has others.
func TestReportsNameKnownFECs(t *testing.T) {
	dir := t.TempDir()
	for _, g := range []string{"1", "2"} {
		if err := os.MkdirAll(dir+"/generations/"+g+"/fecs", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	link("../../../objects/x", "generations/1/fecs/kgp2cu02")
	link("kgp2cu02", "generations/1/fecs/scuxl0815")
	link("../../../objects/x", "generations/2/fecs/kgp2cu03")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	k := &knownFECs{root: root}
	if name, ok := k.name("kgp2cu02"); ok {
		t.Errorf("nothing is published, and %s is known", name)
	}
	for generation, want := range map[string]map[string]string{
		"1": {"kgp2cu02": "kgp2cu02", "scuxl0815": "kgp2cu02", "kgp2cu03": ""},
		"2": {"kgp2cu02": "", "scuxl0815": "", "kgp2cu03": "kgp2cu03"},
	} {
		_ = os.Remove(dir + "/current") // there is none at first
		link("generations/"+generation, "current")
		for range 2 {
			for given, fec := range want {
				if name, ok := k.name(given); name != fec || ok != (fec != "") {
					t.Errorf("generation %s: %s is %q, %v, want %q", generation, given, name, ok, fec)
				}
			}
		}
	}
}
