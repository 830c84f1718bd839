package tree

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// What directory servers are told: resources of pilots, in GLUE 2.
const (
	infosysFolder = "infosys"
	pilotsLDIF    = "pilots.ldif"
)

// infosysFolders are everything that directory servers are told of; none if no pilot is published.
func infosysFolders(site desired.Site, places []PilotPlace) []Folder {
	b := PilotLDIF(site, places)
	if b == nil {
		return nil
	}
	return []Folder{{Path: infosysFolder, Nodes: []Node{{Path: pilotsLDIF, Data: b}}}}
}

// infosys are the origins of these: of each pilot how its resources are marked, and what its sites have said.
func (o origins) infosys() {
	var sources []Source
	for _, name := range slices.Sorted(maps.Keys(o.site.Pilots)) {
		if p := o.site.Pilots[name]; p.Scope == desired.PilotOfSites && p.InfoSys != nil {
			sources = append(sources, value("entries", "pilots", name, "infosys"), value("sites that run it", "pilots", name, "records"))
		}
	}
	if len(sources) > 0 {
		o.add(infosysFolder, "what directory servers are told", sources...)
		o.add(infosysFolder+"/"+pilotsLDIF, "resources of pilots, in GLUE 2", sources...)
	}
}

// PilotGroup is the group below a directory's base that entries of pilots lie in.
const PilotGroup = "GLUE2GroupID=pilots"

// PilotMark is the value of GLUE2EntityOtherInfo that marks resources of a pilot.
func PilotMark(id string) string { return "PilotID=" + id }

// PilotLDIF is what a directory server is told of the resources of pilots, as LDIF: a service and its endpoint for each site that runs one of
// those that are published. Nil: there is nothing to tell.
func PilotLDIF(site desired.Site, places []PilotPlace) []byte {
	var b bytes.Buffer
	bases := map[string]bool{}
	for _, place := range slices.SortedFunc(slices.Values(places), func(a, b PilotPlace) int { return cmp.Compare(a.Name, b.Name) }) {
		p, ok := site.Pilots[place.Name]
		if !ok || !place.Published || p.Scope != desired.PilotOfSites || p.InfoSys == nil {
			continue
		}
		base := p.InfoSys.TheBase()
		for _, s := range place.Sites {
			declared, ok := p.Sites[s.Site]
			if !ok {
				continue
			}
			if !bases[base] {
				bases[base] = true
				entry(&b, PilotGroup+","+base, "objectClass", "GLUE2Group", "GLUE2GroupID", "pilots")
			}
			version := ""
			if wave := max(1, declared.Wave); wave <= len(place.Waves) {
				version = place.Waves[wave-1]
			}
			pilotEntries(&b, place.Name, p, s, version)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return append([]byte("version: 1\n\n"), b.Bytes()...)
}

// pilotEntries writes the service of a pilot at a site, and its endpoint.
func pilotEntries(b *bytes.Buffer, name string, p desired.Pilot, at PilotSite, version string) {
	site, id, level := at.Site, p.IDOf(name), p.InfoSys.TheLevel()
	service := "urn:pomona:pilot:" + id + ":" + site
	dn := "GLUE2ServiceID=" + rdnValue(service) + "," + PilotGroup + "," + p.InfoSys.TheBase()
	pairs := []string{"objectClass", "GLUE2Service", "GLUE2ServiceID", service, "GLUE2EntityName", p.Service, "GLUE2ServiceType", p.InfoSys.Type,
		"GLUE2ServiceQualityLevel", level, "GLUE2ServiceAdminDomainForeignKey", site, "GLUE2EntityOtherInfo", PilotMark(id)}
	if r := at.Resources; r != nil {
		pairs = append(pairs, "GLUE2EntityOtherInfo", fmt.Sprintf("PilotNodes=%d", r.Nodes), "GLUE2EntityOtherInfo", fmt.Sprintf("PilotCores=%d", r.Cores),
			"GLUE2EntityOtherInfo", fmt.Sprintf("PilotMemoryGiB=%d", r.MemoryGiB), "GLUE2EntityOtherInfo", fmt.Sprintf("PilotStorageTiB=%g", r.StorageTiB))
	}
	entry(b, dn, pairs...)
	endpoint := service + ":endpoint"
	pairs = []string{"objectClass", "GLUE2Endpoint", "GLUE2EndpointID", endpoint, "GLUE2EndpointURL", cmp.Or(p.Tracker, p.Ticket, service), "GLUE2EndpointInterfaceName", p.InfoSys.Type,
		"GLUE2EndpointQualityLevel", level, "GLUE2EndpointHealthState", "unknown", "GLUE2EndpointServingState", "production", "GLUE2EndpointServiceForeignKey", service,
		"GLUE2EntityOtherInfo", PilotMark(id)}
	if version != "" {
		pairs = append(pairs, "GLUE2EndpointImplementationVersion", version)
	}
	entry(b, "GLUE2EndpointID="+rdnValue(endpoint)+","+dn, pairs...)
}

// entry writes an entry with its attributes, names and values in turn, and an empty line. Empty values are left out.
func entry(b *bytes.Buffer, dn string, pairs ...string) {
	ldifLine(b, "dn", dn)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			ldifLine(b, pairs[i], pairs[i+1])
		}
	}
	b.WriteByte('\n')
}

// ldifLine writes an attribute as RFC 2849 has it: in Base64 unless the value is a SAFE-STRING that ends in no space.
func ldifLine(b *bytes.Buffer, name, value string) {
	safe := !strings.HasSuffix(value, " ") && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f }) && !strings.ContainsAny(value[:min(1, len(value))], " :<")
	if safe {
		fmt.Fprintf(b, "%s: %s\n", name, value)
	} else {
		fmt.Fprintf(b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
	}
}

// rdnValue is a value in a distinguished name, as RFC 4514 has it.
func rdnValue(value string) string {
	var b strings.Builder
	for i, c := range []byte(value) {
		switch {
		case strings.IndexByte(`,+"\<>;=`, c) >= 0, (c == ' ' || c == '#') && i == 0, c == ' ' && i == len(value)-1:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
