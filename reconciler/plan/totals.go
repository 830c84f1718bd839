package plan

import "github.com/pomona-gitops/pomona/reconciler/desired"

// Totals sum a plan up.
type Totals struct {
	Removed    int      `json:"removed"` // FECs
	Changed    int      `json:"changed"` // FECs
	Added      int      `json:"added"`   // FECs
	Reboots    int      `json:"reboots"` // changed FECs that need one
	Restarts   int      `json:"restarts"`
	Bytes      int64    `json:"bytes"`   // that all these FECs download, at most
	Servers    []string `json:"servers"` // that the site's boot client asks for them
	Builds     int      `json:"builds"`  // artifacts that are not there yet
	BuildBytes int64    `json:"buildBytes"`
}

func (p Plan) totals(s desired.Site) Totals {
	t := Totals{Builds: len(p.Builds), Servers: append([]string{}, s.Settings.Boot.Servers...)}
	for _, b := range p.Builds {
		t.BuildBytes += b.Size
	}
	for _, f := range p.FECs {
		t.Bytes += f.Bytes
		switch f.What {
		case Removed:
			t.Removed++
		case Changed:
			t.Changed++
		case Added:
			t.Added++
		}
		switch f.Needs {
		case desired.Reboot:
			t.Reboots++
		case desired.Restart:
			t.Restarts++
		}
	}
	return t
}
