package report

import (
	"fmt"
	"io"
)

// CampaignEfficiency is how much of what they asked for the submissions of a campaign have used that have ended.
type CampaignEfficiency struct {
	UID    string            `json:"uid"`
	Stages []StageEfficiency `json:"stages"` // those with jobs, providers first
}

// StageEfficiency is likewise of one stage.
type StageEfficiency struct {
	Stage  string    `json:"stage"`
	CPU    Histogram `json:"cpu"`    // time of processors, of the time that they were had
	Memory Histogram `json:"memory"` // of what was asked for, as the site says now
}

// Bars is how many bars a histogram has: a tenth each, and one for more than was asked for.
const Bars = 11

// Histogram is how many submissions have used which share of something.
type Histogram struct {
	Bars    [Bars]int `json:"bars"`    // from 0% on; the last is of 100% and more
	Known   int       `json:"known"`   // in all bars
	Unknown int       `json:"unknown"` // how much those used or had, nobody knows
	Mean    float64   `json:"mean"`    // share, of those that are known
}

// Add counts so many submissions that have used a share, less than 0: nobody knows which.
func (h *Histogram) Add(share float64, n int) {
	if share < 0 {
		h.Unknown += n
		return
	}
	h.Bars[min(int(share*10+1e-9), Bars-1)] += n
	h.Mean = (h.Mean*float64(h.Known) + share*float64(n)) / float64(h.Known+n)
	h.Known += n
}

// Of is what a bar is of, as people read it.
func (Histogram) Of(bar int) string {
	if bar == Bars-1 {
		return "100% and more"
	}
	return fmt.Sprintf("%d–%d%%", bar*10, bar*10+10)
}

// Most is the highest bar, at least 1.
func (h Histogram) Most() int {
	most := 1
	for _, n := range h.Bars {
		most = max(most, n)
	}
	return most
}

// MeanText is the mean as people read it.
func (h Histogram) MeanText() string {
	if h.Known == 0 {
		return "nobody knows"
	}
	return fmt.Sprintf("%.0f%%", 100*h.Mean)
}

// Text writes it for people.
func (e CampaignEfficiency) Text(w io.Writer) error {
	return textOf(w, func(t io.Writer) {
		fmt.Fprint(t, "STAGE\tOF\tMEAN")
		for i := range Bars {
			fmt.Fprint(t, "\t", Histogram{}.Of(i))
		}
		fmt.Fprintln(t, "\tUNKNOWN")
		for _, s := range e.Stages {
			s.CPU.line(t, s.Stage, "processors")
			s.Memory.line(t, s.Stage, "memory")
		}
		if len(e.Stages) == 0 {
			fmt.Fprintln(t, "no stage of it runs jobs")
		}
	})
}

func (h Histogram) line(t io.Writer, stage, of string) {
	fmt.Fprintf(t, "%s\t%s\t%s", stage, of, h.MeanText())
	for _, n := range h.Bars {
		fmt.Fprintf(t, "\t%d", n)
	}
	fmt.Fprintf(t, "\t%d\n", h.Unknown)
}
