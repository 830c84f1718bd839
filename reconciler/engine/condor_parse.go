package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condorAd is a job as condor_q and condor_history print it with -json. What it does not say is nil or zero.
type condorAd struct {
	ClusterID            int     `json:"ClusterId"`
	ProcID               *int    `json:"ProcId"`
	Key                  string  `json:"PomonaKey"`
	Status               int     `json:"JobStatus"`
	HoldReason           string  `json:"HoldReason"`
	HoldReasonCode       int     `json:"HoldReasonCode"`
	LastHoldReason       string  `json:"LastHoldReason"`
	LastHoldReasonCode   int     `json:"LastHoldReasonCode"`
	RemoveReason         string  `json:"RemoveReason"`
	QDate                int64   `json:"QDate"`
	JobStartDate         int64   `json:"JobStartDate"`
	JobCurrentStartDate  int64   `json:"JobCurrentStartDate"`
	EnteredCurrentStatus int64   `json:"EnteredCurrentStatus"`
	CompletionDate       int64   `json:"CompletionDate"`
	ExitCode             *int    `json:"ExitCode"`
	ExitBySignal         bool    `json:"ExitBySignal"`
	ExitSignal           int     `json:"ExitSignal"`
	RemoteHost           string  `json:"RemoteHost"`
	LastRemoteHost       string  `json:"LastRemoteHost"`
	RemoteUserCPU        float64 `json:"RemoteUserCpu"`
	RemoteSysCPU         float64 `json:"RemoteSysCpu"`
	ResidentSetSize      int64   `json:"ResidentSetSize"` // KiB
}

// parseCondor reads a list of jobs. condor_q prints nothing at all when there are none, condor_history an empty list.
func parseCondor(out []byte, history bool, wanted func(string) bool) ([]Job, error) {
	if len(bytes.TrimSpace(out)) == 0 && !history {
		return nil, nil
	}
	var ads []condorAd
	if err := json.Unmarshal(out, &ads); err != nil {
		return nil, err
	}
	var jobs []Job
	for _, ad := range ads {
		if !wanted(ad.Key) {
			continue
		}
		if ad.ClusterID < 1 || ad.ProcID == nil || *ad.ProcID < 0 {
			return nil, fmt.Errorf("a job of key %s has no number", ad.Key)
		}
		jobs = append(jobs, ad.job(history))
	}
	return jobs, nil
}

func (ad condorAd) job(history bool) Job {
	j := Job{
		Key: ad.Key, ID: strconv.Itoa(ad.ClusterID), Task: *ad.ProcID + 1, TaskID: fmt.Sprintf("%d.%d", ad.ClusterID, *ad.ProcID),
		Submitted: seconds(ad.QDate), Node: ad.RemoteHost,
		CPU: time.Duration((ad.RemoteUserCPU + ad.RemoteSysCPU) * float64(time.Second)), Memory: ad.ResidentSetSize << 10,
	}
	if j.Node == "" {
		j.Node = ad.LastRemoteHost
	}
	_, host, found := strings.Cut(j.Node, "@") // slot1_1@HOST
	if found {
		j.Node = host
	}
	if j.Began = seconds(ad.JobCurrentStartDate); j.Began.IsZero() {
		j.Began = seconds(ad.JobStartDate)
	}
	ad.state(&j, history)
	if j.State.Ended() {
		if j.Ended = seconds(ad.CompletionDate); j.Ended.IsZero() {
			j.Ended = seconds(ad.EnteredCurrentStatus)
		}
	}
	return j
}

// Statuses of jobs.
const (
	condorIdle      = 1
	condorRunning   = 2
	condorRemoved   = 3
	condorCompleted = 4
	condorHeld      = 5
)

// state says how far a job is. One that is being removed may still run until it is in the history. What its status is not known to be
// is not taken for an end.
func (ad condorAd) state(j *Job, history bool) {
	switch {
	case ad.Status == condorCompleted, ad.Status == condorRemoved && history && ad.endedItself():
		ad.exit(j)
	case ad.Status == condorRemoved && history:
		j.State, j.Reason = Cancelled, ad.RemoveReason
		switch {
		case slices.Contains(heldByLimit, ad.LastHoldReasonCode):
			j.State, j.Reason = Exceeded, ad.LastHoldReason
		case strings.Contains(ad.RemoveReason, "PeriodicRemove"):
			j.State, j.Reason = Exceeded, "time limit: "+ad.RemoveReason
		}
	case ad.Status == condorRemoved:
		j.State, j.Reason = Running, "is being removed"
	case ad.Status == condorHeld && (ad.HoldReasonCode == heldAtSubmit || ad.HoldReasonCode == heldByUser):
		j.State, j.Reason = Held, ad.HoldReason
	case ad.Status == condorHeld: // nobody here may release it
		j.State, j.Reason = Queued, "held by HTCondor: "+ad.HoldReason
	case ad.Status == condorIdle:
		j.State = Queued
	default:
		j.State = Running
	}
}

// endedItself says of a job that was removed whether it had ended before. One that was told to end may leave with any status
// but 0.
func (ad condorAd) endedItself() bool {
	return ad.CompletionDate > 0 || ad.ExitCode != nil && *ad.ExitCode == 0 && !ad.ExitBySignal
}

func (ad condorAd) exit(j *Job) {
	switch {
	case ad.ExitBySignal:
		j.State, j.Signal = Failed, ad.ExitSignal
	case ad.ExitCode == nil: // nobody knows how
		j.State, j.Reason = Failed, "HTCondor does not say how it ended"
	case *ad.ExitCode != 0:
		j.State, j.Exit = Failed, *ad.ExitCode
	default:
		j.State = Completed
	}
}

// seconds since 1970; 0 is no time.
func seconds(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
