package tree

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func infosysSite(service string) desired.Site {
	return desired.Site{Pilots: map[string]desired.Pilot{
		"cream": {
			Scope: desired.PilotOfSites, Service: service, Tracker: "https://tracker.example.org/cream", InfoSys: &desired.InfoSys{Type: "org.glite.ce.CREAM", ID: "cream-1"},
			Sites: map[string]desired.PilotSite{"CERN-PROD": {}, "INFN-CNAF": {Wave: 2}, "RAL-LCG2": {}, "IN2P3": {}},
			Records: map[string]desired.PilotRecord{
				"d1": {Kind: desired.RecordDeployment, Site: "IN2P3", State: "installed", At: "2026-10-01T00:00:00Z"}, // nobody knows who wrote them
				"r1": {Kind: desired.RecordResources, Site: "CERN-PROD", At: "2026-10-09T00:00:00Z", Resources: &desired.SiteResources{Nodes: 99999}},
			},
		},
		"quiet": {Scope: desired.PilotOfSites, InfoSys: &desired.InfoSys{Type: "x"}, Sites: map[string]desired.PilotSite{"CERN-PROD": {}},
			Records: map[string]desired.PilotRecord{"d1": {Kind: desired.RecordDeployment, Site: "CERN-PROD", State: "installed", At: "2026-10-01T00:00:00Z"}}},
		"fecs": {Scope: desired.PilotOfFECs},
	}}
}

// inPlace are places of pilots, of which those that are published are told of.
func inPlace(published bool) []PilotPlace {
	sites := []PilotSite{{Site: "CERN-PROD", Resources: &desired.SiteResources{Nodes: 4, Cores: 256, MemoryGiB: 1024, StorageTiB: 1.5}}, {Site: "INFN-CNAF"}, {Site: "NOBODY"}}
	return []PilotPlace{
		{Name: "cream", State: "published", Waves: []string{"sha256:aa", "sha256:bb"}, Published: published, Sites: sites},
		{Name: "quiet", Waves: []string{"sha256:cc"}, Sites: sites}, {Name: "fecs", Waves: []string{"x"}, Published: published}, {Name: "gone", Published: published, Sites: sites},
	}
}

const oneService = `dn: GLUE2ServiceID=urn:pomona:pilot:cream-1:CERN-PROD,GLUE2GroupID=pilots,o=glue
objectClass: GLUE2Service
GLUE2ServiceID: urn:pomona:pilot:cream-1:CERN-PROD
GLUE2EntityName: CREAM
GLUE2ServiceType: org.glite.ce.CREAM
GLUE2ServiceQualityLevel: pre-production
GLUE2ServiceAdminDomainForeignKey: CERN-PROD
GLUE2EntityOtherInfo: PilotID=cream-1
GLUE2EntityOtherInfo: PilotNodes=4
GLUE2EntityOtherInfo: PilotCores=256
GLUE2EntityOtherInfo: PilotMemoryGiB=1024
GLUE2EntityOtherInfo: PilotStorageTiB=1.5

dn: GLUE2EndpointID=urn:pomona:pilot:cream-1:CERN-PROD:endpoint,GLUE2ServiceID=urn:pomona:pilot:cream-1:CERN-PROD,GLUE2GroupID=pilots,o=glue
objectClass: GLUE2Endpoint
GLUE2EndpointID: urn:pomona:pilot:cream-1:CERN-PROD:endpoint
GLUE2EndpointURL: https://tracker.example.org/cream
GLUE2EndpointInterfaceName: org.glite.ce.CREAM
GLUE2EndpointQualityLevel: pre-production
GLUE2EndpointHealthState: unknown
GLUE2EndpointServingState: production
GLUE2EndpointServiceForeignKey: urn:pomona:pilot:cream-1:CERN-PROD
GLUE2EntityOtherInfo: PilotID=cream-1
GLUE2EndpointImplementationVersion: sha256:aa
`

// TestDirectoriesAreToldOfPublishedPilots has sites that run a pilot, one that nobody declared, one of which only an unproven record says so, and a
// pilot that is not published.
func TestDirectoriesAreToldOfPublishedPilots(t *testing.T) {
	got := string(PilotLDIF(infosysSite("CREAM"), inPlace(true)))
	if !strings.Contains(got, oneService) || strings.Count(got, "objectClass: GLUE2Service\n") != 2 || strings.Contains(got, "99999") || strings.Contains(got, "IN2P3") || strings.Count(got, "objectClass: GLUE2Group\n") != 1 ||
		!strings.Contains(got, "GLUE2EndpointImplementationVersion: sha256:bb\n") || !strings.HasPrefix(got, "version: 1\n\ndn: GLUE2GroupID=pilots,o=glue\n") {
		t.Errorf("got\n%s", got)
	}
	if b := PilotLDIF(infosysSite("CREAM"), nil); b != nil {
		t.Errorf("%s", b)
	}
}

// TestAPublishedPilotIsInTheTree lays out a tree with one that is published, and one without.
func TestAPublishedPilotIsInTheTree(t *testing.T) {
	site := infosysSite("CREAM")
	folders := infosysFolders(site, inPlace(true))
	if len(folders) != 1 || folders[0].Path != "infosys" || len(folders[0].Nodes) != 1 || !strings.Contains(string(folders[0].Nodes[0].Data), oneService) {
		t.Errorf("%+v", folders)
	}
	if folders := infosysFolders(site, inPlace(false)); folders != nil {
		t.Errorf("%+v", folders)
	}
	if o := Origins(site, nil, "infosys/pilots.ldif"); len(o) != 2 || len(o["infosys/pilots.ldif"].Sources) != 4 {
		t.Errorf("%+v", o)
	}
}

// TestNoValueMakesAnEntry has values that would be more than one.
func TestNoValueMakesAnEntry(t *testing.T) {
	for _, hostile := range []string{"a\ndn: o=evil", "a\r\n\r\ndn: o=evil", " a", "a ", ":a", "<file:///etc/passwd", "\x00", "gr\u00fcn", "a\x7f", "\u2028b"} {
		got := PilotLDIF(infosysSite(hostile), inPlace(true))
		if n := bytes.Count(got, []byte("\ndn:")); n != 5 {
			t.Errorf("%q makes %d entries:\n%s", hostile, n, got)
		}
		if want := "GLUE2EntityName:: " + base64.StdEncoding.EncodeToString([]byte(hostile)) + "\n"; !bytes.Contains(got, []byte(want)) {
			t.Errorf("%q: no line %q in\n%s", hostile, want, got)
		}
	}
}

// TestNamesAreValuesOfOneRDN escapes as RFC 4514 has it.
func TestNamesAreValuesOfOneRDN(t *testing.T) {
	for value, want := range map[string]string{"a,b=c": `a\,b\=c`, "#a": `\#a`, " a ": `\ a\ `, `a+b"c\d<e>f;g`: `a\+b\"c\\d\<e\>f\;g`, "a\x00\nb": `a\00\0ab`, "grün": "grün", "a:b": "a:b"} {
		if got := rdnValue(value); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
