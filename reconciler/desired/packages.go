package desired

import "strings"

// Packages says where sites install packages of pilots from, and whom they believe.
type Packages struct {
	Servers []string                 `json:"servers,omitempty"`
	Keys    map[string]PackageKey    `json:"keys,omitempty"`
	Base    map[string][]PackageList `json:"base,omitempty"` // by branch
}

// PackageKey is the OpenPGP public key of somebody who signs packages.
type PackageKey struct {
	File string `json:"file"`
}

// PackageList is primary.xml of one repository of a distribution.
type PackageList struct {
	SHA256 string `json:"sha256"`
	URL    string `json:"url,omitempty"` // empty: it is in the site's blob store
}

// PackageServers are the addresses that serve this tree to sites, without a slash at their end.
func (s Site) PackageServers() (servers []string) {
	all := s.Settings.Packages.Servers
	if len(all) == 0 {
		all = s.Settings.Boot.Servers
	}
	for _, server := range all {
		servers = append(servers, strings.TrimRight(server, "/"))
	}
	return servers
}
