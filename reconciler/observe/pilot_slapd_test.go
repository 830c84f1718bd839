package observe_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/e2e/address"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// directory is a real directory server, OpenLDAP's.
type directory struct {
	t    *testing.T
	dir  string
	conf string
	url  string
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/slapd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("slapd not found: install Debian's packages slapd and ldap-utils")
		}
		t.Skip("NOT TESTED: slapd not found: install Debian's packages slapd and ldap-utils")
	}
	schema, err := filepath.Abs("testdata/GLUE20.schema")
	if err != nil {
		t.Fatal(err)
	}
	free, err := address.Free()
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{t: t, dir: t.TempDir(), url: "ldap://" + free}
	d.conf = filepath.Join(d.dir, "slapd.conf")
	d.put("slapd.conf", fmt.Sprintf("include /etc/ldap/schema/core.schema\ninclude %s\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\ndatabase mdb\ndirectory %[2]s\nsuffix \"o=glue\"\nrootdn \"o=glue\"\nrootpw secret\n",
		schema, d.dir))
	d.run(0, "/usr/sbin/slaptest", "-u", "-f", d.conf)
	return d
}

func (d *directory) put(name, content string) (file string) {
	d.t.Helper()
	file = filepath.Join(d.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return file
}

// run runs a program that is to end with an exit code.
func (d *directory) run(want int, program string, args ...string) string {
	d.t.Helper()
	c := exec.Command(program, args...)
	out, _ := c.CombinedOutput() // what went wrong is in its exit code
	if code := c.ProcessState.ExitCode(); code != want {
		d.t.Fatalf("%s %v ends with %d instead of %d:\n%s", program, args, code, want, out)
	}
	return string(out)
}

// start serves what was loaded.
func (d *directory) start() {
	d.t.Helper()
	c := exec.Command("/usr/sbin/slapd", "-f", d.conf, "-h", d.url, "-d", "0")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	for range 600 {
		if exec.Command("ldapsearch", "-x", "-LLL", "-H", d.url, "-b", "o=glue", "-s", "base").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.t.Fatalf("slapd does not answer:\n%s", said.String())
}

const base = "dn: o=glue\nobjectClass: organization\no: glue\n\n"

// TestARealDirectoryTakesWhatIsPublished loads pilots.ldif into OpenLDAP, which knows which attributes are mandatory, and looks for the
// resources there: also for those of sites that publish something else, or nothing.
func TestARealDirectoryTakesWhatIsPublished(t *testing.T) {
	d := newDirectory(t)
	p := desired.Pilot{
		Scope: desired.PilotOfSites, Service: "CREAM grün\ndn: o=evil", InfoSys: &desired.InfoSys{Type: "org.glite.ce.CREAM", ID: "cream-1", Server: d.url},
		Sites: map[string]desired.PilotSite{"CERN-PROD": {}, "INFN,CNAF+#=;<x>": {Wave: 2}},
	}
	place := tree.PilotPlace{Name: "cream", Waves: []string{"sha256:aa", "sha256:bb"}, Published: true, Sites: []tree.PilotSite{
		{Site: "CERN-PROD", Resources: &desired.SiteResources{Nodes: 4, Cores: 256, MemoryGiB: 1024, StorageTiB: 1.5}}, {Site: "INFN,CNAF+#=;<x>"}}}
	ldif := string(tree.PilotLDIF(desired.Site{Pilots: map[string]desired.Pilot{"cream": p}}, []tree.PilotPlace{place}))
	entries := strings.TrimPrefix(ldif, "version: 1\n\n")
	file := d.put("pilots.ldif", base+entries)
	d.run(0, "/usr/sbin/slapadd", "-u", "-f", d.conf, "-l", file)

	// What lacks something mandatory is refused; a level that GLUE does not know is not: that has to be looked at by others.
	lacks := strings.Replace(entries, "GLUE2ServiceQualityLevel: pre-production\n", "", 1)
	if out := d.run(1, "/usr/sbin/slapadd", "-u", "-f", d.conf, "-l", d.put("lacks.ldif", base+lacks)); !strings.Contains(out, "GLUE2ServiceQualityLevel") {
		t.Errorf("slapadd says %s", out)
	}
	service := func(site, level string) string {
		return fmt.Sprintf("dn: GLUE2ServiceID=%s,o=glue\nobjectClass: GLUE2Service\nGLUE2ServiceID: %[1]s\nGLUE2ServiceType: org.glite.ce.CREAM\nGLUE2ServiceQualityLevel: %s\nGLUE2ServiceAdminDomainForeignKey: %[1]s\nGLUE2EntityOtherInfo: PilotID=cream-1\n\n", site, level)
	}
	d.run(0, "/usr/sbin/slapadd", "-f", d.conf, "-l", d.put("all.ldif", base+entries+service("RAL-LCG2", "pilot")+
		strings.Replace(service("IN2P3", "pre-production"), "cream-1", "cream-10", 1)))
	d.start()
	found := d.run(0, "ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-x", "-H", d.url, "-b", "o=glue", "(&(objectClass=GLUE2Service)(GLUE2EntityOtherInfo=PilotID=cream-1))", "GLUE2ServiceAdminDomainForeignKey")
	if n := strings.Count(found, "dn:"); n != 3 {
		t.Errorf("%d services:\n%s", n, found)
	}
	if n := strings.Count(d.run(0, "ldapsearch", "-LLL", "-x", "-H", d.url, "-b", "o=glue", "(GLUE2EndpointImplementationVersion=sha256:bb)", "dn"), "dn:"); n != 1 {
		t.Errorf("%d endpoints", n)
	}
	want := map[string]string{"CERN-PROD": "right", "INFN,CNAF+#=;<x>": "right", "RAL-LCG2": `"pilot" instead of "pre-production"`, "IN2P3": "has no service of IN2P3"}
	for _, probe := range (observe.PilotProbe{}).Sites(t.Context(), "cream", p, []string{"CERN-PROD", "INFN,CNAF+#=;<x>", "RAL-LCG2", "IN2P3"}, time.Now()) {
		if why := want[probe.Site]; probe.Right != (why == "right") || !probe.Right && !strings.Contains(probe.Why, why) || probe.Seen != (probe.Site != "IN2P3") {
			t.Errorf("%+v", probe)
		}
	}
}
