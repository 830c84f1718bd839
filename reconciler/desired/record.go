package desired

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// NotKnown is the state of something of which it should be known whether it has ended, and is not: it stays.
const NotKnown = "not known to have ended"

// Rewritten are the records of pilots and prerequisites that one commit of a site has and a later one says otherwise or not at all:
// evidence is added, never changed. What has ended may go with all its records: state says how far something of a section was then; empty: nobody
// could, and its records alone tell.
func Rewritten(before, now Site, state func(section, name string) string) Problems {
	var ps Problems
	ps = append(ps, rewritten("pilots", before.Pilots, now.Pilots, Pilot.records, stays(state, "pilots", Pilot.Ended, "closed", "denied", "expired"))...)
	ps = append(ps, rewritten("prerequisites", before.Prerequisites, now.Prerequisites, Prerequisite.records, stays(state, "prerequisites", Prerequisite.Retired, "retired"))...)
	return ps.Sorted()
}

// stays says why something may not go that has not got into one of some states.
func stays[T any](state func(section, name string) string, section string, ended func(T) bool, ends ...string) func(string, T) string {
	return func(name string, v T) string {
		switch s := state(section, name); {
		case slices.Contains(ends, s) || s == "" && ended(v):
			return ""
		case s != "":
			return fmt.Sprintf("it is %s, and may go once it is %s", s, strings.Join(ends, " or "))
		}
		return "it may go once a record says that it has ended"
	}
}

// rewritten compares the records of everything in one section. Stays says why something may not go.
func rewritten[T, R any](section string, before, now map[string]T, records func(T) map[string]R, stays func(string, T) string) (ps Problems) {
	for _, name := range sortedKeys(before) {
		was := records(before[name])
		v, ok := now[name]
		switch {
		case ok:
			ps = append(ps, changedRecords(CUEPath(section, name), was, records(v))...)
		case len(was) == 0:
		default:
			if why := stays(name, before[name]); why != "" {
				ps = append(ps, Problem{Path: CUEPath(section), Text: fmt.Sprintf("%s is gone, and with it what %s recorded", CUEPath(section, name), manyRecords(len(was))),
					Advice: "put it back as it was: " + why})
			}
		}
	}
	return ps
}

func changedRecords[R any](at string, before, now map[string]R) (ps Problems) {
	for _, name := range sortedKeys(before) {
		path := at + "." + CUEPath("records", name)
		v, ok := now[name]
		switch {
		case !ok:
			ps = append(ps, Problem{Path: at, Text: fmt.Sprintf("record %q has been removed", name), Advice: "put it back as it was: records are added, never removed"})
		case !reflect.DeepEqual(v, before[name]):
			ps = append(ps, Problem{Path: path, Text: "this record has been changed", Advice: "put it back as it was, and add another that says what is new"})
		}
	}
	return ps
}

func manyRecords(n int) string {
	if n == 1 {
		return "a record"
	}
	return fmt.Sprintf("%d records", n)
}

// recordTime is a well-formed moment of a record; the zero time otherwise.
func recordTime(at string) time.Time {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return time.Time{}
	}
	return t
}

// clockSkew is how far ahead of this machine's clock a record may be: others have clocks too.
const clockSkew = 10 * time.Minute

// recordAt checks that a record is not of the future, where it could count for days that have not been.
func (c *checker) recordAt(path, at string) {
	if recordTime(at).After(c.now.Add(clockSkew)) {
		c.problem(path, fmt.Sprintf("this record is of %s, which has not been yet", at), "say when it was")
	}
}
