package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Retained says what becomes of one declared release, and why.
type Retained struct {
	Software string `json:"software"`
	Version  string `json:"version"`
	Keep     bool   `json:"keep"`
	Reason   string `json:"reason"`
}

// Retain decides which releases are served: what something names, what is in development, and the newest production
// versions. The result is sorted by software, newest version first.
func Retain(s desired.Site) []Retained { return retain(s, s.Named(), 0) }

// RetainNext is likewise what it decides now, and what once each software has one more production version, which nothing names yet.
func RetainNext(s desired.Site) (now, next []Retained) {
	named := s.Named()
	return retain(s, named, 0), retain(s, named, 1)
}

// retain decides likewise when there are some production versions more, newer than all.
func retain(s desired.Site, named map[string]map[string][]string, newer int) (out []Retained) {
	for _, name := range slices.Sorted(maps.Keys(s.Software)) {
		out = append(out, retainOne(name, s.Software[name], named[name], s.Settings.Retention.Keep(), newer)...)
	}
	return out
}

func retainOne(name string, sw desired.Software, named map[string][]string, keep, production int) (out []Retained) {
	for _, v := range desired.NewestFirst(sw.Versions) {
		r := Retained{Software: name, Version: v, Keep: true}
		dev := sw.Versions[v].IsDev(v)
		if !dev {
			production++
		}
		switch {
		case len(named[v]) > 0:
			r.Reason = "named by " + desired.Few(named[v])
		case dev:
			r.Reason = "in development"
		case production <= keep:
			r.Reason = fmt.Sprintf("one of the %d newest production versions", keep)
		default:
			r.Keep, r.Reason = false, fmt.Sprintf("named by nothing and older than the %d newest production versions", keep)
		}
		out = append(out, r)
	}
	return out
}

// Releases are the versions that Retain keeps, by software.
func Releases(rs []Retained) map[string][]string {
	out := map[string][]string{}
	for _, r := range rs {
		if r.Keep {
			out[r.Software] = append(out[r.Software], r.Version)
		}
	}
	return out
}
