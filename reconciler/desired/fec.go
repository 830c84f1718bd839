package desired

import (
	"cmp"
	"fmt"
	"time"
)

// FEC is one front-end computer; its key in Site.FECs is its nomenclature.
type FEC struct {
	Description   string                 `json:"description,omitempty"`
	Host          string                 `json:"host"`
	Platform      string                 `json:"platform"`
	Location      string                 `json:"location,omitempty"`
	Responsible   string                 `json:"responsible,omitempty"`
	Groups        []string               `json:"groups,omitempty"`
	Software      map[string]Pin         `json:"software,omitempty"`
	Configuration map[string]string      `json:"configuration,omitempty"` // item to version
	Init          map[string]Init        `json:"init,omitempty"`
	Persistence   map[string]Persistence `json:"persistence,omitempty"`
	Monitoring    Monitoring             `json:"monitoring,omitzero"`
	SSH           SSH                    `json:"ssh,omitzero"`
	Inhibit       string                 `json:"inhibit,omitempty"`
	Labels        map[string]string      `json:"labels,omitempty"`
}

// SSH is how a FEC is reached.
type SSH struct {
	Address  string   `json:"address,omitempty"`
	Port     int      `json:"port,omitempty"`
	User     string   `json:"user,omitempty"`
	HostKeys []string `json:"hostKeys,omitempty"`
}

// Pin names the version that a FEC runs.
type Pin struct {
	Version string `json:"version"`
	Start   *bool  `json:"start,omitempty"`
	Until   string `json:"until,omitempty"`
	Reason  string `json:"reason,omitempty"`

	Piloted Piloted `json:"-"` // no site says it: a pass puts it there
}

// Piloted says which pilot has put a version in the place of a FEC's own. The zero value: none has.
type Piloted struct {
	Pilot string
	Wave  int    // from 1
	Own   string // version that the site itself pins
}

// String names the pilot and the wave.
func (p Piloted) String() string { return fmt.Sprintf("pilot %s, wave %d", p.Pilot, p.Wave) }

// Starts says whether the pinned release is started at boot. A development release starts only while its permission
// lasts; expired says that it has passed.
func (p Pin) Starts(dev, expired bool) bool {
	if !dev {
		return p.Start == nil || *p.Start
	}
	return p.Start != nil && *p.Start && p.Until != "" && !expired
}

// Init is one init script: a file of the repository or a global script.
type Init struct {
	Global string `json:"global,omitempty"`
	File   string `json:"file,omitempty"`
	Starts string `json:"starts,omitempty"`
}

// Persistence names data that a FEC writes and gets back after a reboot.
type Persistence struct {
	Path     string `json:"path"`
	Schema   string `json:"schema"`
	Interval string `json:"interval,omitempty"`
	Keep     int    `json:"keep,omitempty"`
}

// Every is how often it is collected.
func (p Persistence) Every() time.Duration { return mustDuration(or(p.Interval, "1h")) }

// Kept is how many snapshots are kept.
func (p Persistence) Kept() int { return cmp.Or(p.Keep, 3) }

// Monitoring says how a FEC is watched.
type Monitoring struct {
	Groups   []string                  `json:"groups,omitempty"`
	Services map[string]MonitorService `json:"services,omitempty"`
}

// What is checked of a monitored service.
const (
	CheckPing    = "ping"
	CheckTCP     = "tcp"
	CheckHTTP    = "http"
	CheckProcess = "process"
	CheckDBus    = "dbus"
	CheckMetrics = "metrics"
)

// MonitorService is one thing to watch.
type MonitorService struct {
	Description string `json:"description,omitempty"`
	Check       string `json:"check"`
	Port        int    `json:"port,omitempty"`
	Target      string `json:"target,omitempty"`
	Interval    string `json:"interval,omitempty"`
}

// Every is how often it is checked.
func (s MonitorService) Every() time.Duration { return mustDuration(or(s.Interval, "1m")) }
