package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// glue is a directory server of OpenLDAP that knows GLUE 2.
type glue struct {
	t         *testing.T
	dir, conf string
	address   string
}

func newGlue(t *testing.T) *glue {
	t.Helper()
	debian(t, "slapd", "slapd")
	debian(t, "ldap-utils", "ldapadd")
	schema, err := filepath.Abs("../reconciler/observe/testdata/GLUE20.schema")
	if err != nil {
		t.Fatal(err)
	}
	d := &glue{t: t, dir: t.TempDir(), address: "ldap://" + freeAddress(t)}
	d.conf = filepath.Join(d.dir, "slapd.conf")
	world{t: t}.put(d.conf, fmt.Appendf(nil, "include /etc/ldap/schema/core.schema\ninclude %s\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile %s/pid\ndatabase mdb\ndirectory %[2]s\nsuffix \"o=glue\"\nrootdn \"o=glue\"\nrootpw secret\n",
		schema, d.dir))
	return d
}

// starts serves it until the test ends.
func (d *glue) starts() {
	d.t.Helper()
	c := exec.Command(debian(d.t, "slapd", "slapd"), "-f", d.conf, "-h", d.address, "-d", "0")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // killed
	})
	eventually(d.t, "slapd answers", func() bool { return exec.Command("ldapwhoami", "-x", "-H", d.address).Run() == nil })
	d.takes("dn: o=glue\nobjectClass: organization\no: glue\n")
}

// takes adds or changes entries, as ldapadd does.
func (d *glue) takes(ldif string) {
	d.t.Helper()
	c := exec.Command("ldapadd", "-x", "-H", d.address, "-D", "o=glue", "-w", "secret")
	c.Stdin = strings.NewReader(ldif)
	if out, err := c.CombinedOutput(); err != nil {
		d.t.Fatalf("ldapadd: %v\n%s\n%s", err, out, ldif)
	}
}

// TestAPilotIsPublishedOnceItsSitesAre asks a real directory server for the resources of sites that run a pilot: of one as Pomona itself writes them, of
// others with a wrong type, a wrong level, the mark of another pilot or none at all. Whoever looks sees why it is not published; it is once all is right.
func TestAPilotIsPublishedOnceItsSitesAre(t *testing.T) {
	t.Parallel()
	d := newGlue(t)
	g := newGridHouse(t, "cern", "desy", "infn", "ral", "in2p3")
	g.packs("packages/SL9/x86_64/RPMS.Release", "ce", "1.0", "")
	g.asked("--infosys-type", "org.glite.ce.CREAM", "--infosys-server", d.address)
	g.packaged()
	g.mirrored()
	g.joined()
	for _, site := range g.sites {
		g.say(site, 44, "deploy", site, "installed")
		g.say(site, 44, "resources", site, "--nodes", "4", "--cores", "128", "--memory", "512", "--storage", "20")
	}
	g.tells("pilot-resources", "pilot-published")
	g.serves()
	g.becomes("grid-1", "deployed")
	eventually(t, "nobody answers", func() bool { return strings.Contains(g.pilot("grid-1").gate("published"), "connection refused") })

	if why := g.pilot("grid-1").gate("mirror"); why != "pass: on trust by anna@example.org: nobody has compared it" {
		t.Errorf("the mirror, at which nobody has looked: %s", why)
	}
	d.starts()
	eventually(t, "what is to be published is served", func() bool { return get("http://"+g.listen+"/infosys/pilots.ldif") == 200 })
	ldif := string(download(t, "http://"+g.listen+"/infosys/pilots.ldif"))
	group, _, _ := strings.Cut(strings.TrimPrefix(ldif, "version: 1\n\n"), "\n\n")
	own := ""
	for entry := range strings.SplitSeq(ldif, "\n\n") {
		if strings.Contains(entry, ":cern") && strings.HasPrefix(entry, "dn: GLUE2ServiceID=") {
			own = entry
		}
	}
	d.takes(group + "\n\n" + own + "\n")
	service := func(site, kind, level, mark string) {
		d.takes(fmt.Sprintf("dn: GLUE2ServiceID=%s,o=glue\nobjectClass: GLUE2Service\nGLUE2ServiceID: %[1]s\nGLUE2ServiceType: %s\nGLUE2ServiceQualityLevel: %s\nGLUE2ServiceAdminDomainForeignKey: %[1]s\nGLUE2EntityOtherInfo: PilotID=%[4]s\n",
			site, kind, level, mark))
	}
	service("desy", "org.glite.ce.CREAM", "production", "grid-1")
	service("infn", "org.glite.ce.LCG", "pre-production", "grid-1")
	service("ral", "org.glite.ce.CREAM", "pre-production", "grid-10")
	g.dies() // it asks as it starts
	want := map[string]string{"cern": "pass", "desy": "fail", "infn": "fail", "ral": "pending", "in2p3": "pending"}
	judged := func() bool {
		for _, s := range g.pilot("grid-1").Sites {
			if s.Published != want[s.Site] {
				return false
			}
		}
		return true
	}
	defer func() {
		if t.Failed() {
			t.Logf("%+v\n%s", g.pilot("grid-1").Sites, g.pilot("grid-1").gate("published"))
		}
	}()
	eventually(t, "each site is judged", judged)
	p := g.pilot("grid-1")
	for _, why := range []string{"fail: ", "desy is found, but not as it should be: GLUE2ServiceQualityLevel is \"production\" instead of \"pre-production\"",
		"infn is found, but not as it should be: GLUE2ServiceType is \"org.glite.ce.LCG\" instead of \"org.glite.ce.CREAM\""} {
		if !strings.Contains(p.gate("published"), why) {
			t.Errorf("the gate has no %q: %s", why, p.gate("published"))
		}
	}
	page, out := string(download(t, "http://"+g.listen+"/-/pilots/grid-1/")), must(t, "pilot", "grid-1", "--root", g.root)
	for _, text := range []string{page, out} {
		if !strings.Contains(text, "desy is found, but not as it should be") {
			t.Errorf("nobody is told why it is not published:\n%s", text)
		}
	}

	modify := exec.Command("ldapmodify", "-x", "-H", d.address, "-D", "o=glue", "-w", "secret")
	modify.Stdin = strings.NewReader("dn: GLUE2ServiceID=desy,o=glue\nchangetype: modify\nreplace: GLUE2ServiceQualityLevel\nGLUE2ServiceQualityLevel: pre-production\n\n" +
		"dn: GLUE2ServiceID=infn,o=glue\nchangetype: modify\nreplace: GLUE2ServiceType\nGLUE2ServiceType: org.glite.ce.CREAM\n\n" +
		"dn: GLUE2ServiceID=ral,o=glue\nchangetype: modify\nreplace: GLUE2EntityOtherInfo\nGLUE2EntityOtherInfo: PilotID=grid-1\n")
	if out, err := modify.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v\n%s", err, out)
	}
	service("in2p3", "org.glite.ce.CREAM", "pre-production", "grid-1")
	g.dies()
	g.becomes("grid-1", "published")
	eventually(t, "people are told of each site, and of the pilot", func() bool {
		got := g.got()
		return len(got["hook pilot-resources grid-1"]) == len(g.sites) && len(got["hook pilot-published grid-1"]) == 1
	})
}
