package desired

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are known wherever the binary runs
)

// Check finds what the schema cannot: what fields of a configuration say of one another. Problems have paths, no places.
func (s Service) Check() Problems {
	c := serviceChecker{taken: map[string]string{}}
	if len(s.Sites) == 0 {
		c.problem("sites", "there is no site", "name one")
	}
	c.listener("admin", s.AdminAddress())
	if s.Webhooks != "" {
		c.listener("webhooks", s.Webhooks)
	}
	if s.Pages != nil {
		c.pages(*s.Pages)
	}
	for _, name := range sortedKeys(s.Sites) {
		c.site(s, name)
	}
	for _, name := range sortedKeys(s.Notify) {
		c.notifier(s, name)
	}
	return c.problems
}

type serviceChecker struct {
	problems Problems
	taken    map[string]string // address or root to the path that has it
}

func (c *serviceChecker) problem(at, text, advice string) {
	c.problems = append(c.problems, Problem{Path: at, Text: text, Advice: advice})
}

// listener claims an address. Port 0 is any that is free.
func (c *serviceChecker) listener(at, address string) {
	host, port := splitAddress(address)
	if port == "0" {
		return
	}
	for _, other := range sortedKeys(c.taken) {
		h, p := splitAddress(other)
		if !strings.HasPrefix(other, "/") && p == port && (h == host || h == "" || host == "") {
			c.problem(at, fmt.Sprintf("%s listens on %s already", c.taken[other], other), "give each an address of its own")
		}
	}
	c.taken[address] = at
}

// pages looks at what says who looks at them.
func (c *serviceChecker) pages(p Pages) {
	c.listener(CUEPath("pages", "listen"), p.Listen)
	if p.Login == nil {
		return
	}
	for i, from := range p.Login.From {
		if _, err := netip.ParsePrefix(from); err != nil {
			c.problem(fmt.Sprintf("pages.login.from[%d]", i), fmt.Sprintf("%q is no range of addresses", from), "write an address and how many bits of it count: 127.0.0.1/32")
		}
	}
}

// splitAddress is the host and the port of an address; no host for all that the machine has.
func splitAddress(address string) (host, port string) {
	i := strings.LastIndexByte(address, ':')
	if host, port = address[:max(i, 0)], address[i+1:]; host == "0.0.0.0" || host == "[::]" {
		host = ""
	}
	return host, port
}

func (c *serviceChecker) site(s Service, name string) {
	site, at := s.Sites[name], func(parts ...any) string { return CUEPath(append([]any{"sites", name}, parts...)...) }
	c.listener(at("listen"), site.Listen)
	for other, taken := range c.taken {
		if strings.HasPrefix(other, "/") && (inside(site.Root, other) || inside(other, site.Root)) {
			c.problem(at("root"), fmt.Sprintf("it lies with %s of %s", other, taken), "give each site a root of its own, none inside another")
		}
	}
	c.taken[site.Root] = at("root")
	for i, key := range site.Keys {
		c.outside(at("keys", i), key, site.Root)
	}
	if inside(site.Repository.URL, site.Root) {
		c.problem(at("repository", "url"), "the repository lies in the root", "keep it elsewhere: everything in a root is Pomona's")
	}
	if g := site.Repository.Signatures; g != nil && g.AllowedSigners == "" && g.Keyring == "" {
		c.problem(at("repository", "signatures"), "nobody may sign", "give allowedSigners, keyring or both")
	}
	for _, hook := range sortedKeys(site.Webhooks) {
		if s.Webhooks == "" {
			c.problem(at("webhooks", hook), "nothing receives webhooks", `say where, for instance webhooks: "127.0.0.1:8082"`)
		}
		if site.Forge == nil && len(site.Webhooks[hook].Repositories) == 0 {
			c.problem(at("webhooks", hook), "it may speak of no repository", "name some in repositories")
		}
	}
	c.forge(site, at)
	c.reach(site, at)
	c.ledger(s, name, at)
	c.batch(site, at)
	for _, f := range sortedKeys(site.Freezes) {
		c.freeze(site.Freezes[f], at("freezes", f))
	}
	for _, m := range sortedKeys(site.Machine) {
		if (site.Machine[m].File == "") == (site.Machine[m].URL == "") {
			c.problem(at("machine", m), "the state is read from one place", "give file or url")
		}
	}
}

func (c *serviceChecker) forge(site ServedSite, at func(...any) string) {
	switch f := site.Forge; {
	case f == nil && site.Previews != nil:
		c.problem(at("previews"), "previews are of pull requests", "say which forge has them")
	case f == nil:
		return
	case f.App != nil && f.Kind != "github":
		c.problem(at("forge", "app"), "only GitHub knows apps", "give a token")
	case (f.App == nil) == (f.Token == ""):
		c.problem(at("forge"), "it is asked in one way", "give token or app")
	case f.Kind != "github" && f.API == "":
		c.problem(at("forge"), "the address of its API is missing", `give api, for instance api: "https://git.example.org"`)
	case strings.HasPrefix(f.API, "http:"):
		c.problem(at("forge", "api"), "its token would go there in the clear", "give an https address")
	case f.App != nil:
		c.outside(at("forge", "app", "key"), f.App.Key, site.Root)
	default:
		c.outside(at("forge", "token"), f.Token, site.Root)
	}
	if p := site.Previews; p != nil {
		c.outside(at("previews", "key"), p.Key, site.Root)
		if slices.Contains(site.Keys, p.Key) {
			c.problem(at("previews", "key"), "it signs productive trees too", "make one of its own with pomona keygen: a FEC must not take a preview for a release")
		}
	}
}

// reach checks how FECs are reached, and what for.
func (c *serviceChecker) reach(site ServedSite, at func(...any) string) {
	if site.SSH != nil {
		c.outside(at("ssh", "key"), site.SSH.Key, site.Root)
	}
	if site.SSH == nil && site.Collect != nil {
		c.problem(at("collect"), "FECs cannot be reached", "say how in ssh")
	}
	if site.SSH == nil && site.Restarts != nil {
		c.problem(at("restarts"), "FECs cannot be reached", "say how in ssh")
	}
	if k := site.Collect; k != nil {
		c.outside(at("collect", "key"), k.Key, site.Root)
		if slices.Contains(site.Keys, k.Key) {
			c.problem(at("collect", "key"), "it signs releases too", "make one of its own with pomona keygen: a FEC must not take data for a release")
		}
	}
	if r := site.Reports; r != nil {
		c.outside(at("reports", "tokens"), r.Tokens, site.Root)
		if r.RequireTokens && r.Tokens == "" {
			c.problem(at("reports", "requireTokens"), "no report has a token that is known", "give tokens")
		}
	}
}

func (c *serviceChecker) ledger(s Service, name string, at func(...any) string) {
	l := s.Sites[name].Ledger
	if l == nil {
		return
	}
	c.outside(at("ledger", "postgres"), l.Postgres, s.Sites[name].Root)
	for _, other := range sortedKeys(s.Sites) {
		if o := s.Sites[other].Ledger; other < name && o != nil && o.Postgres == l.Postgres && o.TheSchema(other) == l.TheSchema(name) {
			c.problem(at("ledger"), fmt.Sprintf("site %s has schema %s too", other, l.TheSchema(name)), "give each site a schema of its own")
		}
	}
}

// Moment is the form of #Moment.
const Moment = "2006-01-02T15:04"

func (c *serviceChecker) freeze(f Freeze, at string) {
	if _, err := time.LoadLocation(f.Zone); err != nil {
		c.problem(at+".zone", fmt.Sprintf("unknown time zone %q", f.Zone), "use an IANA name, for instance Europe/Berlin")
	}
	if (f.From == "" || f.To == "" || len(f.Days) > 0) && (f.From != "" || f.To != "" || len(f.Days) == 0) {
		c.problem(at, "its time is not said in one way", "give from and to, or days")
		return
	}
	if f.From == "" {
		return
	}
	from, err := time.Parse(Moment, f.From)
	if err != nil {
		c.problem(at+".from", fmt.Sprintf("%s is no moment", f.From), "for instance 2026-12-21T08:00")
	}
	to, err2 := time.Parse(Moment, f.To)
	if err2 != nil {
		c.problem(at+".to", fmt.Sprintf("%s is no moment", f.To), "for instance 2026-12-21T08:00")
	}
	if err == nil && err2 == nil && !from.Before(to) {
		c.problem(at+".to", "it is not after from", "correct one of them")
	}
}

func (c *serviceChecker) notifier(s Service, name string) {
	n, at, ways := s.Notify[name], CUEPath("notify", name), 0
	for _, given := range []bool{n.Slack != nil, n.Email != nil, n.Webhook != nil, n.Alertmanager != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		c.problem(at, "people are told in one way", "give slack, email, webhook or alertmanager")
	}
	for i, site := range n.Sites {
		if _, ok := s.Sites[site]; !ok {
			c.problems = append(c.problems, Problem{Path: CUEPath("notify", name, "sites", i), Text: fmt.Sprintf("unknown site %q", site), Advice: "name one of sites"})
		}
	}
}

func (c *serviceChecker) outside(at, file, root string) {
	if inside(file, root) {
		c.problem(at, "it lies in the root", "keep it elsewhere: the root is served")
	}
}

// inside says whether a path is another or lies below it.
func inside(p, dir string) bool { return strings.HasPrefix(path.Clean(p)+"/", path.Clean(dir)+"/") }
