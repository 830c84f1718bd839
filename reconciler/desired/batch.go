package desired

import "time"

// Engine is one batch system of a service's configuration.
type Engine struct {
	Kind       string            `json:"kind"` // local, slurm, htcondor or command
	Folder     string            `json:"folder,omitempty"`
	Programs   string            `json:"programs,omitempty"` // folder
	Interval   string            `json:"interval,omitempty"`
	Timeout    string            `json:"timeout,omitempty"`
	Credential *EngineCredential `json:"credential,omitempty"`
	Slurm      Slurm             `json:"slurm,omitzero"`
	HTCondor   HTCondor          `json:"htcondor,omitzero"`
	Command    []string          `json:"command,omitempty"`
	Slots      int               `json:"slots,omitempty"`
	User       string            `json:"user,omitempty"`
	Keep       string            `json:"keep,omitempty"`
}

// Every is how often jobs are looked at.
func (e Engine) Every() time.Duration {
	if e.Kind == "local" {
		return mustDuration(or(e.Interval, "2s"))
	}
	return mustDuration(or(e.Interval, "30s"))
}

// Patience is after how long the outcome of a call is unknown.
func (e Engine) Patience() time.Duration { return mustDuration(or(e.Timeout, "2m")) }

// KeepFor is how long launch folders are kept after the end of their run; 0: for ever.
func (e Engine) KeepFor() time.Duration { return mustDuration(e.Keep) }

// EngineCredential is a credential that jobs need.
type EngineCredential struct {
	File   string `json:"file"`
	MaxAge string `json:"maxAge,omitempty"`
	Warn   string `json:"warn,omitempty"`
}

// Good is how long it is good after it was written, if it does not say so itself; 0: nobody knows.
func (c EngineCredential) Good() time.Duration { return mustDuration(or(c.MaxAge, "0s")) }

// Ahead is how long before its end people are told.
func (c EngineCredential) Ahead() time.Duration { return mustDuration(or(c.Warn, "1d")) }

// Slurm is what is peculiar to Slurm.
type Slurm struct {
	Config     string `json:"config,omitempty"` // file
	Cluster    string `json:"cluster,omitempty"`
	Accounting *bool  `json:"accounting,omitempty"`
}

// HTCondor is what is peculiar to HTCondor.
type HTCondor struct {
	Schedd string `json:"schedd"`
	Pool   string `json:"pool,omitempty"`
	Client string `json:"client,omitempty"` // condor or jobsub
	Group  string `json:"group,omitempty"`
}

// Datasets says what datasets of campaigns may read.
type Datasets struct {
	Folders  []string                   `json:"folders,omitempty"`
	Interval string                     `json:"interval,omitempty"`
	Commands map[string]DatasetsCommand `json:"commands,omitempty"`
}

// Every is how often a live dataset is asked.
func (d Datasets) Every() time.Duration { return max(mustDuration(or(d.Interval, "1m")), time.Second) }

// DatasetsCommand prints names of inputs.
type DatasetsCommand struct {
	Command []string `json:"command"`
	Timeout string   `json:"timeout,omitempty"`
}

// Patience is how long it may run.
func (c DatasetsCommand) Patience() time.Duration { return mustDuration(or(c.Timeout, "1m")) }

// SampledService is a service that campaigns need.
type SampledService struct {
	URL      string   `json:"url,omitempty"`
	Command  []string `json:"command,omitempty"`
	Interval string   `json:"interval,omitempty"`
}

// Every is how often it is asked.
func (s SampledService) Every() time.Duration { return mustDuration(or(s.Interval, "5m")) }

// SubmissionAPI is where jobs report, and other tools ask.
type SubmissionAPI struct {
	Listen string `json:"listen"`
	Tokens string `json:"tokens"` // file
	URL    string `json:"url,omitempty"`
}

// Batch are the engines of a site: what is configured, and local.
func (s ServedSite) Batch() map[string]Engine {
	all := map[string]Engine{LocalEngine: {Kind: "local"}}
	for name, e := range s.Engines {
		all[name] = e
	}
	return all
}
