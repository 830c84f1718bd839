package reconciler

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// attempt is one submission that is due.
type attempt struct {
	slice     observed.Slice // with the inputs of this attempt
	round     int
	number    int
	resources desired.Resources
	params    desired.Params // of the recovery
}

// works are attempts at slices of one stage as launches: those that need the same go together, up to as many as the profile takes.
func (s *Campaigner) works(site siteNow, c tended, name string, due []attempt) (works []submit.Work) {
	stage := c.spec.Stages[name]
	profileName, profile := site.Settings.ProfileFor(c.spec, stage)
	by := map[desired.Resources][]attempt{}
	var order []desired.Resources
	for _, a := range due {
		if by[a.resources] == nil {
			order = append(order, a.resources)
		}
		by[a.resources] = append(by[a.resources], a)
	}
	for _, resources := range order {
		for some := range slices.Chunk(by[resources], profile.Tasks()) {
			w := submit.Work{
				Site: site.Settings.Name, Campaign: c.name, UID: c.uid, Stage: name, Engine: profile.Engine, Profile: profileName, Commit: site.commit,
				Job: *stage.Job, Software: softwareOf(c.spec, *stage.Job), Environment: profile.Environment,
				Launch: engine.Launch{Resources: resourcesOf(resources), Account: profile.Account, Partition: profile.Partition, QOS: profile.QOS, Options: profile.Options},
			}
			w.URL, w.Token = s.API.URL, s.API.Token
			for _, a := range some {
				w.Tasks = append(w.Tasks, submit.Task{Slice: a.slice, Params: paramsOf(c.spec, stage, a), Round: a.round, Attempt: a.number})
			}
			works = append(works, w)
		}
	}
	return works
}

// softwareOf are the versions that a job runs, by name.
func softwareOf(c desired.Campaign, j desired.Job) map[string]string {
	all := maps.Clone(c.Software)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, j.Software)
	return all
}

func resourcesOf(r desired.Resources) engine.Resources {
	return engine.Resources{CPUs: r.Processors(), GPUs: r.GPUs, Memory: r.MemoryBytes(), Disk: r.DiskBytes(), Time: r.Time()}
}

// paramsOf are the parameters of an attempt: the campaign's, the stage's, those of tests, the slice's own, and the recovery's, each
// instead of those before.
func paramsOf(c desired.Campaign, stage desired.Stage, a attempt) map[string]string {
	out := map[string]string{}
	add := func(p desired.Params) {
		for name, value := range p {
			out[name] = value.String()
		}
	}
	add(c.Params)
	add(stage.Params)
	if a.slice.Test || c.IsTest() {
		add(stage.TestParams)
	}
	maps.Copy(out, a.slice.Params)
	add(a.params)
	return out
}

// refused says of each stage why its engine has not taken a job of it; moves says whether some slice is under way all the same.
func (n campaignNow) refused() (why map[string]string, moves bool) {
	why = map[string]string{}
	for _, slice := range n.open {
		last := n.last(slice)
		switch {
		case slice.State == observed.SliceVerifying:
			moves = true
		case slice.State != observed.SliceUnderway:
		case last.State != observed.SubmissionIntent || last.Detail == "":
			moves = true
		case why[slice.Stage] == "":
			why[slice.Stage] = "engine " + last.Engine + " has not taken its job: " + strings.TrimPrefix(last.Detail, "submit "+last.Launch+": ") + "; it is tried again"
		}
	}
	return why, moves
}

// sayRefused has the stages of a plan say what their engines refuse, logs it once, and returns it if nothing else moves.
func (s *Campaigner) sayRefused(now campaignNow, p plan.CampaignPlan) (why []string) {
	refused, moves := now.refused()
	for _, name := range plan.StageOrder(now.spec) {
		says := refused[name]
		s.logRefused(now.uid, name, says)
		if says == "" {
			continue
		}
		if p.Whys[name] != "" {
			says += "; " + p.Whys[name]
		}
		if p.Whys[name] = says; !moves {
			why = append(why, name+": "+refused[name])
		}
	}
	return why
}

// logRefused logs once, and again when it is for another reason, that an engine does not take the jobs of a stage.
func (s *Campaigner) logRefused(uid, stage, says string) {
	key := uid + " " + stage // no name has a blank
	var err error
	if says != "" {
		err = errors.New(says)
	} else if s.troubles[key] == nil {
		return
	}
	if s.troubles[key] == nil {
		s.troubles[key] = new(trouble)
	}
	switch news := s.troubles[key].news(err); {
	case news && err != nil:
		s.Log.Error("jobs of a stage are not handed in", "campaign", uid, "stage", stage, "err", err)
	case news:
		s.Log.Info("jobs of a stage can be handed in again", "campaign", uid, "stage", stage)
	}
}
