package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// localFolder is where the local engine's launches lie in a root, unless its configuration says otherwise.
const localFolder = durable.Private + "/engines/"

// runCampaigns has the service of a root carry out campaigns. Without a configuration the local engine runs their jobs.
func (s *servedRoot) runCampaigns(site string, conf desired.ServedSite, r *reconciler.Reconciler) error {
	if r.Records == nil {
		r.Records = reconciler.NewRecords(s.path, r.Log)
	}
	root, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	c := &reconciler.Campaigner{
		Reconciler: r, Engines: map[string]reconciler.BatchEngine{}, Services: map[string]reconciler.SampledService{},
		Datasets: observe.Datasets{Folders: conf.Datasets.Folders, Commands: conf.Datasets.Commands}, AskAgain: conf.Datasets.Every(), Tell: tellsNobody{},
	}
	for _, name := range slices.Sorted(maps.Keys(conf.Batch())) {
		e, run, err := openEngine(name, conf.Batch()[name], root, r.Log)
		if err != nil {
			return fmt.Errorf("open engine %s: %w", name, err)
		}
		c.Engines[name] = e
		if run != nil {
			s.beside = append(s.beside, run)
		}
	}
	for name, service := range conf.Services {
		c.Services[name] = reconciler.SampledService{ServiceSource: observe.ServiceSource{Name: name, URL: service.URL, Command: service.Command}, Every: service.Every()}
	}
	if c.Approvers, err = approversOf(site, conf); err != nil {
		return err
	}
	if s.watch != nil {
		c.Tell = &tellsOfCampaigns{watch: s.watch}
	}
	if c.API, err = s.jobAPI(conf.Submissions); err != nil {
		return err
	}
	campaigner := reconciler.NewCampaigner(c)
	if err := s.serveSubmissions(conf.Submissions, campaigner); err != nil {
		return err
	}
	if s.campaigns = campaigner; s.watch != nil {
		s.watch.campaigns.Store(campaigner)
	}
	s.does["slice"] = func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutSlice(ctx, campaigner, b) }
	s.does["campaign-seen"] = func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutSeen(ctx, campaigner, b) }
	s.does["campaign"] = func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutCampaigns(ctx, campaigner, b) }
	s.beside = append(s.beside, campaigner.Run)
	return nil
}

// openEngine opens one batch system. Run, if any, is what runs beside it.
func openEngine(name string, conf desired.Engine, root string, log *slog.Logger) (e reconciler.BatchEngine, run func(context.Context) error, err error) {
	e.Conf, e.Folder = conf, conf.Folder
	if e.Folder == "" {
		e.Folder = filepath.Join(root, localFolder+name)
	}
	if err := submit.CheckFolder(e.Folder); errors.Is(err, submit.ErrNoLinks) {
		return e, nil, err
	} else if err != nil { // it may come back
		log.Warn("launches cannot be handed to an engine: its folder cannot be written", "engine", name, "err", err)
	}
	if k := conf.Credential; k != nil {
		e.Credential = func() (time.Time, error) {
			c, err := engine.ReadCredential(k.File)
			if good := k.Good(); err == nil && c.Expires.IsZero() && good > 0 {
				return c.Written.Add(good), nil
			}
			return c.Expires, err
		}
	}
	switch conf.Kind {
	case "local":
		local, err := engine.NewLocal(engine.LocalOptions{Folder: e.Folder, Slots: conf.Slots, User: conf.User, Log: log.With("engine", name)})
		if err != nil {
			return e, nil, err
		}
		e.Engine, run = local, local.Run
	case "slurm":
		e.Engine = engine.Slurm{Programs: conf.Programs, Config: conf.Slurm.Config, Cluster: conf.Slurm.Cluster, Accounting: conf.Slurm.Accounting, Timeout: conf.Patience()}
	case "htcondor":
		e.Engine = engine.HTCondor{Programs: conf.Programs, Schedd: conf.HTCondor.Schedd, Pool: conf.HTCondor.Pool, Jobsub: conf.HTCondor.Client == "jobsub", Group: conf.HTCondor.Group,
			Timeout: conf.Patience()}
	case "command":
		e.Engine = engine.Command{Program: conf.Command, Timeout: conf.Patience()}
	default:
		return e, nil, fmt.Errorf("unknown kind %q", conf.Kind)
	}
	return e, run, nil
}

// approversOf says how it is known who has approved.
func approversOf(site string, conf desired.ServedSite) (a reconciler.Approvers, err error) {
	if g := conf.Repository.Signatures; g != nil {
		if a.Signers, err = repo.OpenSigners(repo.SignerFiles{SSH: g.AllowedSigners, GPG: g.Keyring}, time.Now); err != nil {
			return a, err
		}
	}
	if conf.Forge != nil {
		if f, err := openForge(site, conf); err == nil { // else whoever reviews says why
			a.Forge = f
		}
	}
	return a, nil
}

// proveRecords has the service of a root find out who wrote records of pilots.
func (s *servedRoot) proveRecords(site string, conf desired.ServedSite, r *reconciler.Reconciler) error {
	approvers, err := approversOf(site, conf)
	if err != nil {
		return err
	}
	w := s.watch
	prover := reconciler.NewProver(&reconciler.Prover{Reconciler: r, Approvers: approvers, Kick: func(ctx context.Context) {
		if loop := w.loop.Load(); loop != nil {
			loop.Kick(ctx)
		}
	}})
	s.beside = append(s.beside, prover.Run)
	return nil
}

// tellsOfCampaigns tells people what becomes of campaigns.
type tellsOfCampaigns struct {
	*watch
	shown []report.Campaign // as whoever looks at pages was told of them last
}

// Campaigns implements reconciler.CampaignTold.
func (t *tellsOfCampaigns) Campaigns(c report.Campaigns) {
	t.metrics.Campaigns(c)
	if !reflect.DeepEqual(t.shown, c.Campaigns) { // it is called again and again, by one goroutine
		t.shown = c.Campaigns
		t.changes.Tell()
	}
}

// CampaignsAre implements reconciler.CampaignTold.
func (t *tellsOfCampaigns) CampaignsAre(what reconciler.CampaignTrouble, lines []string) {
	kind := map[reconciler.CampaignTrouble]announce.Kind{
		reconciler.CampaignsHeld: announce.CampaignHeld, reconciler.CampaignsLate: announce.CampaignLate,
		reconciler.SubmissionsUnknown: announce.SubmissionUnknown, reconciler.CredentialsExpiring: announce.CredentialExpiring,
	}[what]
	t.notifier.Send(announce.OfCampaigns(t.site, kind, lines, time.Now()))
}

// CampaignEnded implements reconciler.CampaignTold.
func (t *tellsOfCampaigns) CampaignEnded(uid, state, detail string, well bool) {
	t.notifier.Send(announce.OfEnd(t.site, uid, state, detail, well, time.Now()))
}

// tellsNobody is told where nobody watches.
type tellsNobody struct{}

// Campaigns implements reconciler.CampaignTold.
func (tellsNobody) Campaigns(report.Campaigns) {}

// CampaignsAre implements reconciler.CampaignTold.
func (tellsNobody) CampaignsAre(reconciler.CampaignTrouble, []string) {}

// CampaignEnded implements reconciler.CampaignTold.
func (tellsNobody) CampaignEnded(_, _, _ string, _ bool) {}
