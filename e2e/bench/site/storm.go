package site

import "fmt"

// WriteStorm writes a site with n FECs that each boot two archives of so many KiB, of eight, and two scripts.
func WriteStorm(dir string, n, kib int) error {
	w := &writer{dir: dir, fecs: n, software: archives, archived: kib}
	w.settings()
	for i := range w.software {
		w.product(i)
	}
	for i := range n {
		w.write(FEC(i), fmt.Sprintf(`package site

fecs: %q: {
	host: "%[1]s.acc.example.org"
	platform: "p%d"
	software: {
		sw%03d: version: "1.0.0"
		sw%03d: version: "2.0.0"
	}
	init: {
		"10-start": global: "10-start"
		"50-run": file: "scripts/start1"
	}
}
`, Name(i), i%platforms, i%archives, (i+1)%archives))
	}
	if w.err != nil {
		return fmt.Errorf("write site: %w", w.err)
	}
	return Commit(dir, "site", "init", "-q", "-b", "main")
}
