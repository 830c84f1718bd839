package observe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PilotProbe asks the information system of a pilot for the resources of its sites. Servers are others': what they may take of time and
// memory is limited.
type PilotProbe struct {
	Timeout time.Duration // of all of it; 0: 20 s
	TLS     *tls.Config   // of ldaps servers; nil: the machine's authorities
}

const (
	probeTimeout = 20 * time.Second
	probeAnswer  = 2 << 20 // bytes that a server may send
	probeEntries = 2000
	probeDepth   = 16 // of what a server sends; answers to searches have 8
)

// GLUE 2 attributes that are asked for.
const (
	glueType  = "GLUE2ServiceType"
	glueLevel = "GLUE2ServiceQualityLevel"
	glueSite  = "GLUE2ServiceAdminDomainForeignKey"
)

var limitBER sync.Once

// Sites says of each of some sites whether its resources are found, and with the attributes that the pilot's are marked by. What
// nobody could ask for was not seen.
func (a PilotProbe) Sites(ctx context.Context, name string, p desired.Pilot, sites []string, now time.Time) (probes []observed.PilotProbe) {
	found, err := a.search(ctx, name, p)
	for _, site := range sites {
		probe := observed.PilotProbe{Pilot: name, Site: site, At: now}
		judge(&probe, found, *p.InfoSys, tree.PilotMark(p.IDOf(name)), err)
		probes = append(probes, probe)
	}
	return probes
}

// judge says what entries tell of a site.
func judge(probe *observed.PilotProbe, found []*ldap.Entry, want desired.InfoSys, mark string, err error) {
	var wrong []string
	for _, e := range found {
		if !isOf(e, probe.Site) {
			continue
		}
		probe.Seen = true
		switch t, level := e.GetAttributeValue(glueType), e.GetAttributeValue(glueLevel); {
		case t != want.Type:
			wrong = append(wrong, fmt.Sprintf("%s is %.100q instead of %q", glueType, t, want.Type))
		case level != want.TheLevel():
			wrong = append(wrong, fmt.Sprintf("%s is %.100q instead of %q", glueLevel, level, want.TheLevel()))
		default:
			probe.Right, probe.Why = true, ""
			return
		}
	}
	slices.Sort(wrong)
	switch {
	case probe.Seen:
		probe.Why = wrong[0]
	case err != nil:
		probe.Why = "nobody knows: " + err.Error()
	default:
		probe.Why = fmt.Sprintf("%s has no service of %s with %s", cmp.Or(want.Server, "nobody"), probe.Site, mark)
	}
}

// isOf says whether an entry is of a site: by its foreign key, or because it lies below the site's domain.
func isOf(e *ldap.Entry, site string) bool {
	if slices.Contains(e.GetAttributeValues(glueSite), site) {
		return true
	}
	dn, err := ldap.ParseDN(e.DN)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(dn.RDNs, func(r *ldap.RelativeDN) bool {
		return slices.ContainsFunc(r.Attributes, func(a *ldap.AttributeTypeAndValue) bool {
			return strings.EqualFold(a.Type, "GLUE2DomainID") && a.Value == site
		})
	})
}

// search finds the services that are marked as a pilot's. With an error, there may be more than were found.
func (a PilotProbe) search(ctx context.Context, name string, p desired.Pilot) ([]*ldap.Entry, error) {
	if p.InfoSys == nil || p.InfoSys.Server == "" {
		return nil, errors.New("the pilot names no directory server: infosys.server")
	}
	timeout := cmp.Or(a.Timeout, probeTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	limitBER.Do(func() { ber.MaxPacketLengthBytes, ber.MaxNestingDepth = probeAnswer, probeDepth })
	c, isTLS, err := a.dial(ctx, p.InfoSys.Server)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", p.InfoSys.Server, err)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })() // whatever waits for it ends
	conn := ldap.NewConn(c, isTLS)
	conn.SetTimeout(timeout)
	conn.Start()
	defer conn.Close() // only read
	filter := fmt.Sprintf("(&(objectClass=GLUE2Service)(GLUE2EntityOtherInfo=%s))", ldap.EscapeFilter(tree.PilotMark(p.IDOf(name))))
	found, err := conn.Search(ldap.NewSearchRequest(p.InfoSys.TheBase(), ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, probeEntries, int(timeout.Seconds()), false, filter,
		[]string{glueType, glueLevel, glueSite}, nil))
	if err != nil {
		err = fmt.Errorf("ask %s: %w", p.InfoSys.Server, err)
	}
	if found == nil {
		return nil, err
	}
	return found.Entries, err
}

// dial connects to a directory server.
func (a PilotProbe) dial(ctx context.Context, server string) (net.Conn, bool, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, false, errors.New("malformed address")
	}
	port := map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	if port == "" {
		return nil, false, fmt.Errorf("unknown scheme %q: want ldap or ldaps", u.Scheme)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
	if err != nil {
		return nil, false, err
	}
	c = &limitedConn{Conn: c, left: probeAnswer}
	if u.Scheme == "ldap" {
		return c, false, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.TLS != nil {
		conf = a.TLS.Clone()
	}
	conf.ServerName = u.Hostname()
	t := tls.Client(c, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, false, errors.Join(err, c.Close())
	}
	return t, true, nil
}

// limitedConn ends a connection whose other side has sent too much.
type limitedConn struct {
	net.Conn
	left int64
}

func (c *limitedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes: %w", probeAnswer, io.ErrUnexpectedEOF)
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}
