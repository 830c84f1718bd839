package observe

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func entryOf(dn, site, typ, level string) *ldap.Entry {
	return ldap.NewEntry(dn, map[string][]string{glueSite: {site}, glueType: {typ}, glueLevel: {level}})
}

// listen has a directory server that answers each search with what is given to it, and then hangs.
func listen(t *testing.T, answer func(id int64) []byte) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				p, err := ber.ReadPacket(c)
				if err != nil || len(p.Children) == 0 {
					return
				}
				id, _ := p.Children[0].Value.(int64)
				_, _ = c.Write(answer(id))
			}()
		}
	}()
	return "ldap://" + l.Addr().String()
}

// found is the answer with one entry.
func found(id int64, e *ldap.Entry) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, e.DN, ""))
	all := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, a := range e.Attributes {
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a.Name, ""))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.Values {
			set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, ""))
		}
		one.AppendChild(set)
		all.AppendChild(one)
	}
	r.AppendChild(all)
	p.AppendChild(r)
	return p.Bytes()
}

// done is the end of the answers.
func done(id int64, code int64) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultDone, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	for range 2 {
		r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	}
	p.AppendChild(r)
	return p.Bytes()
}

// TestSitesAreSeenAsTheyAre has entries of several kinds for each site.
func TestSitesAreSeenAsTheyAre(t *testing.T) {
	cream := "org.glite.ce.CREAM"
	server := listen(t, func(id int64) []byte {
		return bytes.Join([][]byte{
			found(id, entryOf("GLUE2ServiceID=a,o=glue", "GOOD", "other", "production")),
			found(id, entryOf("GLUE2ServiceID=b,o=glue", "GOOD", cream, "pre-production")),
			found(id, entryOf("GLUE2ServiceID=c,GLUE2DomainID=BELOW,GLUE2GroupID=grid,o=glue", "other", cream, "pre-production")),
			found(id, entryOf("GLUE2ServiceID=d,o=glue", "LEVEL", cream, "pilot")),
			found(id, entryOf("GLUE2ServiceID=e,o=glue", "TYPE", "org.glite.ce.cream", "pre-production")),
			done(id, 0),
		}, nil)
	})
	p := desired.Pilot{InfoSys: &desired.InfoSys{Type: cream, Server: server}}
	want := map[string]string{"GOOD": "yes", "BELOW": "yes", "LEVEL": `"pilot" instead of "pre-production"`, "TYPE": `"org.glite.ce.cream" instead of`, "NONE": "has no service of NONE with PilotID=cream"}
	for _, probe := range (PilotProbe{}).Sites(t.Context(), "cream", p, []string{"GOOD", "BELOW", "LEVEL", "TYPE", "NONE"}, time.Now()) {
		why := want[probe.Site]
		if right := why == "yes"; probe.Right != right || probe.Seen != (probe.Site != "NONE") || right != (probe.Why == "") || !right && !strings.Contains(probe.Why, why) {
			t.Errorf("%+v", probe)
		}
	}
}

// TestAServerThatDoesNotAnswerHasSeenNothing has hostile servers: that hang, that send without end, that nest without end, that claim to send
// much, that send nonsense, that say there is more.
func TestAServerThatDoesNotAnswerHasSeenNothing(t *testing.T) {
	one := entryOf("GLUE2ServiceID=b,o=glue", "OTHER", "org.glite.ce.CREAM", "pre-production")
	for name, answer := range map[string]func(int64) []byte{
		"hangs":      func(int64) []byte { return nil },
		"floods":     func(id int64) []byte { return bytes.Repeat(found(id, one), 3*probeAnswer/len(found(id, one))) },
		"nests":      func(int64) []byte { return bytes.Repeat([]byte{0x30, 0x80}, probeAnswer) },
		"claims":     func(int64) []byte { return []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01} },
		"nonsense":   func(int64) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"empty":      func(int64) []byte { return []byte{0x30, 0x00} },
		"one of all": func(id int64) []byte { return append(found(id, one), done(id, ldap.LDAPResultSizeLimitExceeded)...) },
		"no base":    func(id int64) []byte { return done(id, ldap.LDAPResultNoSuchObject) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := desired.Pilot{InfoSys: &desired.InfoSys{Type: "org.glite.ce.CREAM", Server: listen(t, answer)}}
			probes := PilotProbe{Timeout: 2 * time.Second}.Sites(t.Context(), "cream", p, []string{"CERN-PROD"}, time.Now())
			if len(probes) != 1 || probes[0].Seen || probes[0].Right || !strings.HasPrefix(probes[0].Why, "nobody knows: ask ldap://127.0.0.1:") {
				t.Errorf("%+v", probes)
			}
		})
	}
	for _, server := range []string{"", "ldap://127.0.0.1:1", "http://127.0.0.1:1", "ldap://[::1"} {
		p := desired.Pilot{InfoSys: &desired.InfoSys{Server: server}}
		if probe := (PilotProbe{}).Sites(context.Background(), "cream", p, []string{"A"}, time.Now())[0]; probe.Seen || probe.Right || probe.Why == "" {
			t.Errorf("%q: %+v", server, probe)
		}
	}
}
