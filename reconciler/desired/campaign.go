package desired

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Campaign is batch work with a reason; its key in Site.Campaigns is its name.
type Campaign struct {
	Reason        string            `json:"reason"`
	Requester     string            `json:"requester"`
	Assignee      string            `json:"assignee,omitempty"`
	Role          string            `json:"role,omitempty"`
	State         string            `json:"state,omitempty"`
	Phase         string            `json:"phase,omitempty"`
	Run           string            `json:"run,omitempty"`
	NeedsApproval *bool             `json:"needsApproval,omitempty"`
	Approvals     []Approval        `json:"approvals,omitempty"`
	Profile       string            `json:"profile,omitempty"`
	Software      map[string]string `json:"software,omitempty"` // name to version
	Params        Params            `json:"params,omitempty"`
	Stages        map[string]Stage  `json:"stages"`
	Schedule      *Schedule         `json:"schedule,omitempty"`
	Services      []string          `json:"services,omitempty"`
	Loop          *Loop             `json:"loop,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// States of a campaign, as the site wants it.
const (
	Draft    = "draft"
	Active   = "active"
	Paused   = "paused"
	Draining = "draining"
	Closed   = "closed"
)

// TheState is what the site wants of it.
func (c Campaign) TheState() string { return or(c.State, Draft) }

// Roles of a campaign.
const (
	Production = "production"
	Analysis   = "analysis"
	Shifter    = "shifter"
)

// TheRole is what it is for.
func (c Campaign) TheRole() string { return or(c.Role, Production) }

// IsTest says whether what it makes counts for nothing.
func (c Campaign) IsTest() bool { return c.Phase == "test" }

// UID is its identity: of one that has ended, nothing starts any more. A name has no slash.
func (c Campaign) UID(name string) string { return name + "/" + or(c.Run, "1") }

// Approval binds an approval to the digest of what was approved.
type Approval struct {
	Stage  string `json:"stage,omitempty"`
	Digest string `json:"digest"` // sha256:HEX
}

// Loop has a stage's output be the input of the first one again.
type Loop struct {
	Stage string `json:"stage"`
	Max   int    `json:"max"`
}

// Stage is one kind of work in a campaign.
type Stage struct {
	Description string          `json:"description,omitempty"`
	Type        string          `json:"type,omitempty"`
	Needs       map[string]Need `json:"needs,omitempty"` // by stage
	Input       *Input          `json:"input,omitempty"`
	Split       *Split          `json:"split,omitempty"`
	TestSplit   *Split          `json:"testSplit,omitempty"`
	Params      Params          `json:"params,omitempty"`
	TestParams  Params          `json:"testParams,omitempty"`
	Job         *Job            `json:"job,omitempty"`
	Profile     string          `json:"profile,omitempty"`
	Completion  Completion      `json:"completion,omitzero"`
	Recoveries  []Recovery      `json:"recoveries,omitempty"`
	MaxInFlight int             `json:"maxInFlight,omitempty"`
	Epoch       int             `json:"epoch,omitempty"`
}

// Types of stages.
const (
	RegularStage   = "regular"
	GeneratorStage = "generator"
	ApprovalStage  = "approval"
	TransferStage  = "transfer"
	TestStage      = "test"
)

// TheType is what kind of work it is.
func (s Stage) TheType() string { return or(s.Type, RegularStage) }

// TheEpoch counts how often everything is done.
func (s Stage) TheEpoch() int { return cmp.Or(s.Epoch, 1) }

// ReadsDataset says whether its input says where its inputs come from. That of a transfer says where its files should be.
func (s Stage) ReadsDataset() bool {
	return s.Input != nil && (s.TheType() != TransferStage || len(s.Needs) == 0)
}

// InFlight is how many submissions may be under way at once.
func (s Stage) InFlight() int { return cmp.Or(s.MaxInFlight, 1000) }

// TheSplit is what of the input is one slice; test says that it is for a test launch.
func (s Stage) TheSplit(test bool) Split {
	switch {
	case test && s.TestSplit != nil:
		return *s.TestSplit
	case test:
		return Split{Type: SampleSplit, N: 1}
	case s.Split != nil:
		return *s.Split
	}
	return Split{Type: NoSplit}
}

// Need is what one stage wants of another.
type Need struct {
	Outputs []string `json:"outputs,omitempty"`
	Join    string   `json:"join,omitempty"`
	On      string   `json:"on,omitempty"`
}

// JoinsAll says whether it waits until every slice is done.
func (n Need) JoinsAll() bool { return n.Join == "all" }

// AcceptsAny says whether what is partial or failed counts as done.
func (n Need) AcceptsAny() bool { return n.On == "any" }

// Input is a dataset; exactly one of Files, Glob, HTTP, SAM and Command is set.
type Input struct {
	Files   []string        `json:"files,omitempty"`
	Glob    string          `json:"glob,omitempty"`
	HTTP    *Catalogue      `json:"http,omitempty"`
	SAM     *SAM            `json:"sam,omitempty"`
	Command *DatasetCommand `json:"command,omitempty"`
	Live    bool            `json:"live,omitempty"`
	Settle  string          `json:"settle,omitempty"`
}

// Catalogue is an address that answers with JSON. Paths are field names with dots between.
type Catalogue struct {
	URL       string `json:"url"`
	Items     string `json:"items,omitempty"`
	Name      string `json:"name,omitempty"`
	RunNumber string `json:"runNumber,omitempty"`
	Time      string `json:"time,omitempty"`
	Size      string `json:"size,omitempty"`
	Next      string `json:"next,omitempty"`
}

// SAM is a dataset of a SAM station's web service.
type SAM struct {
	URL        string `json:"url"`
	Definition string `json:"definition,omitempty"`
	Dimensions string `json:"dimensions,omitempty"`
}

// DatasetCommand is a command of the service's configuration.
type DatasetCommand struct {
	Name      string   `json:"name"`
	Arguments []string `json:"arguments,omitempty"`
}

// Split says what of the input is one slice.
type Split struct {
	Type     string                  `json:"type"`
	Items    []string                `json:"items,omitempty"`
	Params   map[string][]ParamValue `json:"params,omitempty"`
	N        int                     `json:"n,omitempty"`
	Low      int                     `json:"low,omitempty"`
	High     int                     `json:"high,omitempty"` // itself included
	Width    string                  `json:"width,omitempty"`
	Lag      string                  `json:"lag,omitempty"`
	From     string                  `json:"from,omitempty"`
	Until    string                  `json:"until,omitempty"`
	TimeZone string                  `json:"timeZone,omitempty"`
	Size     string                  `json:"size,omitempty"`
	Project  string                  `json:"project,omitempty"`
	Tags     map[string]string       `json:"tags,omitempty"`
	CatchAll string                  `json:"catchAll,omitempty"`
}

// Types of splits.
const (
	NoSplit           = "none"
	ListSplit         = "list"
	MatrixSplit       = "matrix"
	ModuloSplit       = "modulo"
	FilesSplit        = "files"
	DrainSplit        = "drain"
	SampleSplit       = "sample"
	RunsSplit         = "runs"
	ExistingRunsSplit = "existing-runs"
	WindowSplit       = "window"
	StagedSplit       = "staged"
	MergeSplit        = "merge"
	ResplitSplit      = "resplit"
	TagsSplit         = "tags"
	ExternalSplit     = "external"
)

// Pools says whether it looks at the outputs of all slices of a stage, and not at those of each by itself.
func (s Split) Pools() bool {
	switch s.Type {
	case DrainSplit, ResplitSplit, MergeSplit, RunsSplit, ExistingRunsSplit, WindowSplit, TagsSplit:
		return true
	}
	return false
}

// Gives are the parameters that it gives each slice.
func (s Split) Gives() []string {
	switch s.Type {
	case MatrixSplit:
		return sortedKeys(s.Params)
	case ListSplit:
		return []string{"item"}
	case ModuloSplit:
		return []string{"part"}
	case RunsSplit, ExistingRunsSplit:
		return []string{"run"}
	case WindowSplit:
		return []string{"from", "until"}
	case TagsSplit:
		return []string{"tag"}
	}
	return nil
}

// Job is what is run.
type Job struct {
	Argv        []string          `json:"argv"`
	Software    map[string]string `json:"software,omitempty"`
	Resources   Resources         `json:"resources,omitzero"`
	Environment map[string]string `json:"environment,omitempty"`
	Outputs     map[string]Output `json:"outputs,omitempty"`
	Retry       Retry             `json:"retry,omitzero"`
}

// Resources are what one job may use.
type Resources struct {
	CPUs     int    `json:"cpus,omitempty"`
	GPUs     int    `json:"gpus,omitempty"`
	Memory   string `json:"memory,omitempty"`
	Disk     string `json:"disk,omitempty"`
	Walltime string `json:"walltime,omitempty"`
}

// Over is what r says, and for the rest what other does.
func (r Resources) Over(other Resources) Resources {
	return Resources{
		CPUs: cmp.Or(r.CPUs, other.CPUs), GPUs: cmp.Or(r.GPUs, other.GPUs), Memory: cmp.Or(r.Memory, other.Memory),
		Disk: cmp.Or(r.Disk, other.Disk), Walltime: cmp.Or(r.Walltime, other.Walltime),
	}
}

// Processors is how many it uses.
func (r Resources) Processors() int { return cmp.Or(r.CPUs, 1) }

// MemoryBytes is how much memory it may use.
func (r Resources) MemoryBytes() int64 { return mustSize(or(r.Memory, "2GiB")) }

// DiskBytes is how much scratch space it may use; 0: nothing is said.
func (r Resources) DiskBytes() int64 { return mustSize(or(r.Disk, "0B")) }

// Time is how long it may run.
func (r Resources) Time() time.Duration { return mustDuration(or(r.Walltime, "1h")) }

// Output is a kind of file that a job leaves.
type Output struct {
	Pattern  string `json:"pattern"`
	PerInput *int   `json:"perInput,omitempty"`
}

// Least is how many of each input there are at least.
func (o Output) Least() int {
	if o.PerInput == nil {
		return 1
	}
	return *o.PerInput
}

// Retry has the same submission run again.
type Retry struct {
	OnExit       []int   `json:"onExit,omitempty"`
	Max          int     `json:"max,omitempty"`
	MemoryFactor float64 `json:"memoryFactor,omitempty"`
}

// Recovery is another submission for what a slice lacks.
type Recovery struct {
	Select    string    `json:"select"`
	Resources Resources `json:"resources,omitzero"`
	Params    Params    `json:"params,omitempty"`
	MinFiles  int       `json:"minFiles,omitempty"`
}

// Least is with how many inputs it is worth a submission.
func (r Recovery) Least() int { return cmp.Or(r.MinFiles, 1) }

// Completion says when a slice is complete.
type Completion struct {
	Criterion         string `json:"criterion,omitempty"`
	Threshold         string `json:"threshold,omitempty"`
	CountFailedAsDone bool   `json:"countFailedAsDone,omitempty"`
	Timeout           string `json:"timeout,omitempty"`
	MeasuredFrom      string `json:"measuredFrom,omitempty"`
	OnTimeout         string `json:"onTimeout,omitempty"`
}

// Patience is after how long a slice is late.
func (c Completion) Patience() time.Duration { return mustDuration(or(c.Timeout, "2d")) }

// Percent is the share of the inputs that is enough.
func (c Completion) Percent() int {
	if n, err := strconv.Atoi(strings.TrimSuffix(c.Threshold, "%")); err == nil {
		return n
	}
	return 100
}

// ByOutputs says whether slices are complete by what there is, and not by how their jobs ended.
func (s Stage) ByOutputs() bool {
	if s.Job == nil || s.Completion.Criterion == "jobs" {
		return false
	}
	for _, o := range s.Job.Outputs {
		if o.Least() > 0 {
			return true
		}
	}
	return false
}

// WhenLate is what becomes of a slice that is late: alert, hold, fail or accept.
func (c Completion) WhenLate() string { return or(c.OnTimeout, "alert") }

// Schedule starts the first stages at given times.
type Schedule struct {
	Cron        string `json:"cron"`
	TimeZone    string `json:"timeZone,omitempty"`
	Concurrency string `json:"concurrency,omitempty"`
	Deadline    string `json:"deadline,omitempty"`
	CatchUp     string `json:"catchUp,omitempty"`
}

// Overlap is what becomes of a start while slices of the one before are under way: forbid, allow or replace.
func (s Schedule) Overlap() string { return or(s.Concurrency, "forbid") }

// Late is how much later a start may be.
func (s Schedule) Late() time.Duration { return mustDuration(or(s.Deadline, "10m")) }

// Missed is what becomes of starts that were missed: none, latest or all.
func (s Schedule) Missed() string { return or(s.CatchUp, "none") }

// Profile says where and how jobs run; its key in Settings.Profiles is its name.
type Profile struct {
	Engine      string            `json:"engine"`
	Account     string            `json:"account,omitempty"`
	Partition   string            `json:"partition,omitempty"`
	QOS         string            `json:"qos,omitempty"`
	Options     []string          `json:"options,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Resources   Resources         `json:"resources,omitzero"`
	MaxTasks    int               `json:"maxTasks,omitempty"`
	MaxLaunches int               `json:"maxLaunches,omitempty"`
	Provides    []string          `json:"provides,omitempty"`
}

// Tasks is how many submissions one launch may have.
func (p Profile) Tasks() int { return cmp.Or(p.MaxTasks, 1000) }

// LocalEngine is there without being configured, and so is a profile of that name that uses it.
const LocalEngine = "local"

// ProfileFor is the profile that a stage of a campaign runs with.
func (s Settings) ProfileFor(c Campaign, stage Stage) (name string, p Profile) {
	name = cmp.Or(stage.Profile, c.Profile)
	if name == "" && len(s.Profiles) == 1 {
		name = sortedKeys(s.Profiles)[0]
	}
	name = cmp.Or(name, LocalEngine)
	p, ok := s.Profiles[name]
	if !ok && name == LocalEngine {
		p.Engine = LocalEngine
	}
	return name, p
}

// CampaignPolicy is what all campaigns of a site have in common.
type CampaignPolicy struct {
	Approval []string            `json:"approval,omitempty"` // roles
	People   map[string][]string `json:"people,omitempty"`   // by role; nil: anybody has each
	Links    map[string]string   `json:"links,omitempty"`    // title to address
}
