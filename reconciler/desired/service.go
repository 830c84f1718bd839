package desired

import (
	"cmp"
	"strings"
	"time"
)

// Service is what a running service is told in its configuration file. It mirrors schema/service.cue.
type Service struct {
	Sites    map[string]ServedSite `json:"sites"`
	Admin    string                `json:"admin,omitempty"`
	Webhooks string                `json:"webhooks,omitempty"`
	Pages    *Pages                `json:"pages,omitempty"`
	Log      ServiceLog            `json:"log,omitzero"`
	Notify   map[string]Notifier   `json:"notify,omitempty"`
}

// AdminAddress is where metrics and health are asked for.
func (s Service) AdminAddress() string { return cmp.Or(s.Admin, "127.0.0.1:8081") }

// Pages are where people look.
type Pages struct {
	Listen string      `json:"listen"`
	URL    string      `json:"url,omitempty"` // that people use
	Login  *PagesLogin `json:"login,omitempty"`
}

// OfSite is where people look at a site; empty: nobody says at which address.
func (p *Pages) OfSite(name string) string {
	if p == nil || p.URL == "" {
		return ""
	}
	return strings.TrimSuffix(p.URL, "/") + "/" + name
}

// PagesLogin is what says who looks: a header, by a proxy.
type PagesLogin struct {
	Header string   `json:"header"`
	From   []string `json:"from"` // prefixes of the proxies' addresses
}

// ServiceLog says how a service logs.
type ServiceLog struct {
	Format string `json:"format,omitempty"`
	Level  string `json:"level,omitempty"`
}

// ServedSite is one site of a service.
type ServedSite struct {
	Root           string                   `json:"root"`
	Listen         string                   `json:"listen"`
	Repository     Repository               `json:"repository"`
	Keys           []string                 `json:"keys,omitempty"`        // files
	PilotKey       string                   `json:"pilotKey,omitempty"`    // file
	Credentials    map[string]string        `json:"credentials,omitempty"` // host to file
	KnownHosts     string                   `json:"knownHosts,omitempty"`
	Poll           string                   `json:"poll,omitempty"`
	MaxConnections int                      `json:"maxConnections,omitempty"`
	Webhooks       map[string]WebhookSource `json:"webhooks,omitempty"`
	Forge          *Forge                   `json:"forge,omitempty"`
	Previews       *Previews                `json:"previews,omitempty"`
	Freezes        map[string]Freeze        `json:"freezes,omitempty"`
	Machine        map[string]MachineState  `json:"machine,omitempty"`
	UploadToken    string                   `json:"uploadToken,omitempty"` // file
	SSH            *Access                  `json:"ssh,omitempty"`
	Collect        *Collect                 `json:"collect,omitempty"`
	Restarts       *RestartService          `json:"restarts,omitempty"`
	Reports        *Reports                 `json:"reports,omitempty"`
	Ledger         *Ledger                  `json:"ledger,omitempty"`
	Hooks          Hooks                    `json:"hooks,omitzero"`

	Engines     map[string]Engine         `json:"engines,omitempty"`
	Datasets    Datasets                  `json:"datasets,omitzero"`
	Services    map[string]SampledService `json:"services,omitempty"`
	Submissions *SubmissionAPI            `json:"submissions,omitempty"`
}

// Interval is how often new commits are looked for.
func (s ServedSite) Interval() time.Duration { return mustDuration(or(s.Poll, "30s")) }

// Connections is how many FECs may be connected at once.
func (s ServedSite) Connections() int { return cmp.Or(s.MaxConnections, 4096) }

// Repository is where a served site comes from.
type Repository struct {
	URL        string      `json:"url"` // or a path
	Branch     string      `json:"branch,omitempty"`
	MaxSize    string      `json:"maxSize,omitempty"`
	Signatures *Signatures `json:"signatures,omitempty"`
}

// TheBranch is the branch that is followed.
func (r Repository) TheBranch() string { return cmp.Or(r.Branch, "main") }

// Size is the largest mirror, in bytes.
func (r Repository) Size() int64 { return mustSize(or(r.MaxSize, "2GiB")) }

// Signatures name who may sign commits.
type Signatures struct {
	AllowedSigners string `json:"allowedSigners,omitempty"` // file
	Keyring        string `json:"keyring,omitempty"`        // file
}

// WebhookSource is a sender of webhooks.
type WebhookSource struct {
	Kind         string   `json:"kind"`
	Secrets      []string `json:"secrets"` // files
	Repositories []string `json:"repositories,omitempty"`
}

// Forge is where a site's repository is reviewed.
type Forge struct {
	Kind           string `json:"kind"`
	Repository     string `json:"repository"` // owner/name
	API            string `json:"api,omitempty"`
	Token          string `json:"token,omitempty"` // file
	App            *App   `json:"app,omitempty"`
	Link           string `json:"link,omitempty"`
	Hook           string `json:"hook,omitempty"`
	Forks          bool   `json:"forks,omitempty"`
	RequireChecked bool   `json:"requireChecked,omitempty"`
	Environment    string `json:"environment,omitempty"`
	// People are addresses by login.
	People map[string]string `json:"people,omitempty"`
}

// App is a GitHub App.
type App struct {
	ID           int64  `json:"id"`
	Installation int64  `json:"installation,omitempty"`
	Key          string `json:"key"` // file
}

// Previews are trees of open pull requests.
type Previews struct {
	Key     string `json:"key"` // file
	Most    int    `json:"most,omitempty"`
	MaxSize string `json:"maxSize,omitempty"`
	Life    string `json:"life,omitempty"`
}

// AtMost is how many there are at once.
func (p Previews) AtMost() int { return cmp.Or(p.Most, 10) }

// Size is how much all of them take, in bytes.
func (p Previews) Size() int64 { return mustSize(or(p.MaxSize, "10GiB")) }

// Lifetime is how long one is there after the last push.
func (p Previews) Lifetime() time.Duration { return mustDuration(or(p.Life, "14d")) }

// Freeze is a time during which nothing is published.
type Freeze struct {
	Reason string   `json:"reason"`
	Scope  string   `json:"scope,omitempty"`
	Zone   string   `json:"zone"`
	From   string   `json:"from,omitempty"`
	To     string   `json:"to,omitempty"`
	Days   []string `json:"days,omitempty"`
	Begin  string   `json:"begin,omitempty"`
	End    string   `json:"end,omitempty"`
}

// MachineState is a state of the machine during which nothing is published.
type MachineState struct {
	Reason    string   `json:"reason"`
	Scope     string   `json:"scope,omitempty"`
	File      string   `json:"file,omitempty"`
	URL       string   `json:"url,omitempty"`
	Field     string   `json:"field,omitempty"`
	Hold      []string `json:"hold,omitempty"`
	Free      []string `json:"free,omitempty"`
	Otherwise string   `json:"otherwise,omitempty"`
}

// Notifier tells people something, one way.
type Notifier struct {
	Events       []string      `json:"events,omitempty"`
	Severity     string        `json:"severity,omitempty"`
	Sites        []string      `json:"sites,omitempty"`
	Slack        *Slack        `json:"slack,omitempty"`
	Email        *Email        `json:"email,omitempty"`
	Webhook      *SignedHook   `json:"webhook,omitempty"`
	Alertmanager *Alertmanager `json:"alertmanager,omitempty"`
}

// Slack is a webhook as Slack and others have it.
type Slack struct {
	Address string `json:"address"` // file
}

// Email is a mail server and whom it tells.
type Email struct {
	Server   string   `json:"server"`
	From     string   `json:"from"`
	To       []string `json:"to"`
	TLS      string   `json:"tls,omitempty"`
	User     string   `json:"user,omitempty"`
	Password string   `json:"password,omitempty"` // file
	CA       string   `json:"ca,omitempty"`       // file
}

// SignedHook is an address that gets signed JSON.
type SignedHook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"` // file
}

// Alertmanager is an Alertmanager's base address.
type Alertmanager struct {
	URL   string `json:"url"`
	Token string `json:"token,omitempty"` // file
}

// Access is how a service logs into FECs.
type Access struct {
	Key        string `json:"key"` // file
	KnownHosts string `json:"knownHosts,omitempty"`
	User       string `json:"user,omitempty"`
	Port       int    `json:"port,omitempty"`
	Root       string `json:"root,omitempty"` // the boot client's state folder on FECs
	Timeout    string `json:"timeout,omitempty"`
}

// TheRoot is the boot client's state folder on FECs.
func (a Access) TheRoot() string { return cmp.Or(a.Root, "/var/lib/pomona") }

// Patience is how long connecting, or silence, may last.
func (a Access) Patience() time.Duration { return mustDuration(or(a.Timeout, "30s")) }

// Collect says how persistent data is collected.
type Collect struct {
	Key         string `json:"key"` // file
	Concurrency int    `json:"concurrency,omitempty"`
	MaxSize     string `json:"maxSize,omitempty"`
	Quota       string `json:"quota,omitempty"`
	Shrink      string `json:"shrink,omitempty"` // a percentage
}

// AtOnce is how many FECs are asked at once.
func (c Collect) AtOnce() int { return cmp.Or(c.Concurrency, 16) }

// Largest is the largest snapshot, unpacked, in bytes.
func (c Collect) Largest() int64 { return mustSize(or(c.MaxSize, "1GiB")) }

// Room is what all snapshots together may take, in bytes.
func (c Collect) Room() int64 { return mustSize(or(c.Quota, "100GiB")) }

// Least is the percentage of the last snapshot's files and bytes that the next must have.
func (c Collect) Least() int { return portion(or(c.Shrink, "50%"), 100) }

// RestartService says how a service restarts FECs.
type RestartService struct {
	Concurrency int `json:"concurrency,omitempty"`
}

// AtOnce is how many FECs are talked to at once.
func (r RestartService) AtOnce() int { return cmp.Or(r.Concurrency, 32) }

// Reports says what is taken of what FECs report.
type Reports struct {
	Tokens        string `json:"tokens,omitempty"` // file
	RequireTokens bool   `json:"requireTokens,omitempty"`
}

// Ledger is a database that takes the place of the file.
type Ledger struct {
	Postgres string `json:"postgres"` // file
	Schema   string `json:"schema,omitempty"`
}

// TheSchema is the schema of a site's ledger.
func (l Ledger) TheSchema(site string) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}
	usual := "pomona_" + strings.Map(plain, site)
	return cmp.Or(l.Schema, usual[:min(len(usual), 63)]) // what PostgreSQL takes
}

// Hooks are programs that are told of generations, by name.
type Hooks struct {
	Before map[string]Hook `json:"before,omitempty"`
	After  map[string]Hook `json:"after,omitempty"`
}

// Hook is one such program.
type Hook struct {
	Command     []string          `json:"command"`
	Timeout     string            `json:"timeout,omitempty"`
	Memory      string            `json:"memory,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
}

// Limit is how long it may take.
func (h Hook) Limit() time.Duration { return mustDuration(or(h.Timeout, "1m")) }

// Most is the memory that it may use, in bytes.
func (h Hook) Most() int64 { return mustSize(or(h.Memory, "512MiB")) }
