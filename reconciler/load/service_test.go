package load_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	cueload "cuelang.org/go/cue/load"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/schema"
)

// TestServiceAgreesWithGo holds the Go structs to #Service: testdata/service.cue sets every field of it, and the Go value
// has all of them.
func TestServiceAgreesWithGo(t *testing.T) {
	src, err := os.ReadFile("testdata/service.cue")
	if err != nil {
		t.Fatal(err)
	}
	s, err := load.Service("pomona.cue", src)
	if err != nil {
		t.Fatal(err)
	}
	insts := cueload.Instances([]string{"."}, &cueload.Config{FS: schema.FS, Dir: "/", Env: []string{"CUE_REGISTRY=none"}})
	service := cuecontext.New().BuildInstance(insts[0]).LookupPath(cue.ParsePath("#Service"))
	seen := map[string]bool{}
	record(asJSON(t, s), "", seen)
	n := 0
	for _, path := range fields(t, service, "") {
		n++
		// The value false of a bool is left out of JSON.
		if !seen[path] && path != ".sites.*.forge.forks" {
			t.Errorf("service.cue sets no %s", path)
		}
	}
	if n < 60 {
		t.Errorf("the schema has only %d fields: the walk is wrong", n)
	}
}

// TestServiceProblems changes the complete configuration in one place each and wants the problem at that place.
func TestServiceProblems(t *testing.T) {
	b, err := os.ReadFile("testdata/service.cue")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown field":      {`maxConnections: 2048`, `maxConections: 2048`, `pomona.cue:19:3: sites.gsi.maxConections: unknown field "maxConections"; did you mean "maxConnections"?`},
		"missing field":      {`repository: url: "/srv/git/test.git"`, ``, `sites.test.repository: required field is missing`},
		"no number":          {`maxConnections: 2048`, `maxConnections: "2048"`, `pomona.cue:19:19: sites.gsi.maxConnections:`},
		"no address":         {`zoe: "zoe@example.org"`, `zoe: "zoe"`, `pomona.cue:88:50: sites.test.forge.people.zoe:`},
		"word":               {`kind:       "gitea"`, `kind:       "gitee"`, `did you mean "gitea"?`},
		"relative path":      {`root:   "/srv/test"`, `root:   "srv/test"`, `pomona.cue:81:11: sites.test.root:`},
		"dots":               {`root:   "/srv/test"`, `root:   "/srv/../test"`, `pomona.cue:81:11: sites.test.root:`},
		"same listener":      {`listen: ":8090"`, `listen: ":8080"`, `pomona.cue:82:11: sites.test.listen: sites.gsi.listen listens on :8080 already`},
		"wildcard listener":  {`listen: ":8090"`, `listen: "0.0.0.0:9090"`, `sites.test.listen: admin listens on 127.0.0.1:9090 already`},
		"same schema":        {`knownHosts:     "/etc/pomona/known_hosts"`, `ledger: {postgres: "/etc/pomona/postgres", schema: "pomona_test"}`, `sites.test.ledger: site gsi has schema pomona_test too; give each site a schema of its own`},
		"root in root":       {`root:   "/srv/test"`, `root:   "/srv/fec/data"`, `pomona.cue:81:11: sites.test.root: it lies with /srv/fec of sites.gsi.root`},
		"key in root":        {`keys: ["/etc/pomona/gsi.sec"]`, `keys: ["/srv/fec/gsi.sec"]`, `pomona.cue:15:10: sites.gsi.keys[0]: it lies in the root`},
		"preview signs all":  {`key:     "/etc/pomona/preview.sec"`, `key:     "/etc/pomona/gsi.sec"`, `sites.gsi.previews.key: it signs productive trees too`},
		"repository in root": {`url: "/srv/git/test.git"`, `url: "/srv/test/git"`, `pomona.cue:83:20: sites.test.repository.url: the repository lies in the root`},
		"unknown zone":       {`"Europe/Berlin"`, `"Europe/Berln"`, `sites.gsi.freezes.christmas.zone: unknown time zone "Europe/Berln"`},
		"no time":            {`begin: "18:00"`, `from: "2026-12-21T08:00"`, `sites.gsi.freezes.nights: its time is not said in one way`},
		"backwards":          {`to:     "2027-01-07T08:00"`, `to:     "2026-01-07T08:00"`, `sites.gsi.freezes.christmas.to: it is not after from`},
		"no such moment":     {`from:   "2026-12-21T08:00"`, `from:   "2026-12-32T08:00"`, `2026-12-32T08:00 is no moment`},
		"two states":         {`file:   "/run/machine/mode"`, `file: "/run/machine/mode", url: "http://machine.example.org/x"`, `sites.gsi.machine.beam: the state is read from one place`},
		"two ways":           {`slack: address: "/etc/pomona/slack"`, `slack: address: "/etc/pomona/slack", alertmanager: url: "http://127.0.0.1:9093"`, `notify.chat: people are told in one way`},
		"unknown site":       {`sites: ["gsi"]`, `sites: ["gis"]`, `notify.chat.sites[0]: unknown site "gis"`},
		"webhooks unheard":   {`webhooks: "127.0.0.1:8082"`, ``, `sites.gsi.webhooks.forge: nothing receives webhooks`},
		"no credential":      {`token:      "/etc/pomona/forge"`, ``, `sites.test.forge: it is asked in one way`},
		"no way to FECs":     {`ssh: {key: "/etc/pomona/fec", knownHosts: "/etc/pomona/fec_hosts", user: "pomona", port: 2222, root: "/data/pomona", timeout: "10s"}`, ``, `sites.test.restarts: FECs cannot be reached`},
		"data signs all":     {`keys: ["/etc/pomona/gsi.sec"]`, `keys: ["/etc/pomona/gsi.sec"], ssh: key: "/e", collect: key: "/etc/pomona/gsi.sec"`, `sites.gsi.collect.key: it signs releases too`},
		"no tokens":          {`reports: {tokens: "/etc/pomona/tokens", requireTokens: true}`, `reports: requireTokens: true`, `sites.test.reports.requireTokens: no report has a token`},
		"no folder":          {`kind: "command", folder: "/nfs/pomona/own"`, `kind: "command"`, `sites.test.engines.own.folder: the folder is missing where jobs find what they run`},
		"shared folder":      {`folder: "/nfs/pomona/own"`, `folder: "/nfs/pomona/grid"`, `sites.test.engines.own.folder: engine grid has it too`},
		"served folder":      {`folder: "/nfs/pomona/own"`, `folder: "/srv/test/own"`, `sites.test.engines.own.folder: it lies in the root`},
		"another's field":    {`slots: 4`, `slots: 4, slurm: cluster: "x"`, `sites.test.engines.here.slurm: an engine of kind local has none; remove it, or say kind: "slurm"`},
		"no program":         {`command: ["/usr/local/bin/own-batch", "--fast"]`, ``, `sites.test.engines.own.command: the program that speaks for the engine is missing`},
		"no schedd":          {`htcondor: {schedd: "schedd1.example.org", pool: "pool.example.org:9618", client: "jobsub", group: "linac"}`, ``, `sites.test.engines.grid.htcondor: which schedd has the jobs is missing`},
		"no group":           {`, client: "jobsub", group: "linac"}`, `, client: "jobsub"}`, `sites.test.engines.grid.htcondor: jobsub wants to know the group`},
		"two questions":      {`elog: command:`, `elog: url: "https://elog.example.org", elog: command:`, `sites.test.services.elog: it is asked in one way`},
		"API listener":       {`listen: "127.0.0.1:8091"`, `listen: "127.0.0.1:8090"`, `sites.test.submissions.listen: sites.test.listen listens on :8090 already`},
		"pages' listener":    {`listen: "127.0.0.1:8083"`, `listen: "127.0.0.1:9090"`, `pages.listen: admin listens on 127.0.0.1:9090 already`},
		"no range":           {`"::1/128"`, `"::1/129"`, `pages.login.from[1]: "::1/129" is no range of addresses`},
		"not CUE":            {`admin:    "127.0.0.1:9090"`, `admin:    "127.0.0.1:9090`, `pomona.cue:124:11: string literal not terminated`},
		"set twice":          {`admin:    "127.0.0.1:9090"`, `admin: "127.0.0.1:9090", admin: ":9"`, `admin: set twice`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(b), c.old) {
				t.Fatalf("service.cue has no %s", c.old)
			}
			_, err := load.Service("pomona.cue", []byte(strings.Replace(string(b), c.old, c.new, 1)))
			var problems desired.Problems
			if !errors.As(err, &problems) || !strings.Contains(problems.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
