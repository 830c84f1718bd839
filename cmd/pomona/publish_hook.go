package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/publish"
)

// hookWorker is the hidden command that stands between a service and a hook.
const hookWorker = "hook-worker"

func hookWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:                hookWorker,
		Short:              "Run a hook for a parent process",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			code, err := publish.HookWorker(args)
			if err == nil && code != 0 {
				err = exit(code)
			}
			return err
		},
	}
}

// runHooks has a site's hooks asked before publication, and told after it.
func (s *servedRoot) runHooks(site string, conf desired.Hooks, r *reconciler.Reconciler) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	r.Before = hooksOf(conf.Before, self)
	after := &reconciler.AfterHooks{Root: s.path, Hooks: hooksOf(conf.After, self), Records: r.Records, Log: r.Log, Now: r.Now}
	failing := failingHooks{site: site, tell: s.watch.notifier.Send}
	after.Tell = failing.told
	r.Observers = append(r.Observers, after)
	s.beside = append(s.beside, after.Run)
	return nil
}

// hooksOf are configured hooks, in the order of their names.
func hooksOf(conf map[string]desired.Hook, self string) (hooks []publish.Hook) {
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		h := conf[name]
		for variable, value := range h.Environment {
			if secretName.MatchString(variable) {
				secrets.Add(value)
			}
		}
		hooks = append(hooks, publish.Hook{Name: name, Command: h.Command, Timeout: h.Limit(), Memory: h.Most(), Environment: h.Environment,
			Worker: []string{self, hookWorker}, Mask: secrets.Mask})
	}
	return hooks
}

// secretName is the name of a variable whose value nobody may see.
var secretName = regexp.MustCompile(`(?i)pass|secret|token|key|credential`)

// failingHooks tells people of hooks that fail, and when none does any more.
type failingHooks struct {
	site string
	tell func(announce.Event)
	mu   sync.Mutex
	why  map[string]string // by hook
}

func (f *failingHooks) told(hook string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = map[string]string{}
	}
	delete(f.why, hook)
	if err != nil {
		f.why[hook] = err.Error()
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(f.why)) {
		lines = append(lines, f.why[name])
	}
	f.tell(announce.OfHooks(f.site, slices.Sorted(maps.Keys(f.why)), strings.Join(lines, "\n"), time.Now()))
}
