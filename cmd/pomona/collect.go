package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// collectData has the service of a root collect persistent data, if its configuration says so.
func (s *servedRoot) collectData(site string, conf desired.ServedSite, r *reconciler.Reconciler) error {
	if conf.Collect == nil {
		return nil
	}
	keys, err := readKeys(conf.Root, []string{conf.Collect.Key})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.Keys, func(k tree.SecretKey) bool { return k.ID == keys[0].ID }) {
		return fmt.Errorf("the key of collect, %q, signs releases too: make one of its own with pomona keygen", conf.Collect.Key)
	}
	folder := conf.SSH.TheRoot() + "/" + tree.CurrentLink
	if err := tree.CheckInstallPath(folder); err != nil || strings.ContainsFunc(folder, isOdd) {
		return fmt.Errorf("ssh.root %q: a shell on a FEC would not take it as it is; use letters, digits and ._+@-", conf.SSH.TheRoot())
	}
	o := collect.Options{
		Root: conf.Root, Keys: keys, SSH: accessOf(conf), Folder: folder, AtOnce: conf.Collect.AtOnce(),
		Largest: conf.Collect.Largest(), Room: conf.Collect.Room(), Least: conf.Collect.Least(),
		Site: publishedData(*conf.SSH, r), Log: r.Log, Now: r.Now,
	}
	if w := s.watch; w != nil {
		o.Tell = w.uncollected()
		o.Done = func(outcome collect.Outcome) { w.metrics.Collected(string(outcome)) }
	}
	c := collect.New(o)
	if s.watch != nil {
		s.watch.collector.Store(c)
	}
	s.does["data"] = func(ctx context.Context, b json.RawMessage) serve.Answer { return aboutData(ctx, c, s.root, b) }
	s.beside = append(s.beside, func(ctx context.Context) error {
		for ctx.Err() == nil {
			err := c.Run(ctx)
			if err == nil {
				return nil
			}
			r.Log.Error("persistent data is not collected; trying again", "err", err, "again", time.Minute)
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
		}
		return nil
	})
	return nil
}

// isOdd says whether a shell takes a character for more than itself.
func isOdd(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._+@/-", r)
}

// publishedData says what persistent data FECs have, as published. The repository is read again only when something else is.
func publishedData(access desired.Access, r *reconciler.Reconciler) func(context.Context) (*collect.Published, error) {
	var seen string
	var last *collect.Published
	return func(ctx context.Context) (*collect.Published, error) {
		link, err := os.Readlink(filepath.Join(r.Root, tree.CurrentLink))
		if err != nil || link == seen {
			return last, nil // without the link, nothing is published, or it is about to be repaired
		}
		site, g, err := r.PublishedSite(ctx)
		if err != nil || g.Number == 0 {
			return last, err
		}
		next := &collect.Published{Site: site.Settings.Name, FECs: map[string]collect.FEC{}}
		for name, f := range site.FECs {
			if len(f.Persistence) > 0 {
				next.FECs[name] = collect.FEC{Host: hostOf(access, name, f), Data: f.Persistence}
			}
		}
		seen, last = link, next
		return last, nil
	}
}

// uncollected tells people what is not collected for long.
func (w *watch) uncollected() func([]collect.Status) {
	var collects announce.Collects
	return func(failing []collect.Status) {
		w.metrics.Uncollected(len(failing))
		var what []announce.Uncollected
		for _, f := range failing {
			what = append(what, announce.Uncollected{FEC: f.FEC, Data: f.Name, Since: f.Since, Err: f.Err})
		}
		if e := collects.Of(w.site, what, time.Now()); e != nil {
			w.notifier.Send(*e)
		}
	}
}

// dataOrder is what an operator wants of persistent data. It goes to the service of a root as JSON.
type dataOrder struct {
	Do       string `json:"do"` // list, collect or restore
	FEC      string `json:"fec,omitempty"`
	Name     string `json:"name,omitempty"`
	Snapshot string `json:"snapshot,omitempty"` // digits that its digest begins with; empty: the newest one
	Shrunken bool   `json:"shrunken,omitempty"`
}

func aboutData(ctx context.Context, c *collect.Collector, root *os.Root, b json.RawMessage) serve.Answer {
	var o dataOrder
	if err := json.Unmarshal(b, &o); err != nil {
		return refusal(err)
	}
	text, err := o.carryOut(ctx, c, root)
	if err != nil {
		return refusal(err)
	}
	list, err := dataOf(root, true, c.Statuses(), o.FEC)
	if err == nil && o.Do == "list" {
		err = isKnown(root, list, o.FEC)
	}
	if err != nil {
		return refusal(err)
	}
	if o.Do == "list" {
		return told(list, list.Text)
	}
	a := told(list, nil)
	a.Text = text
	return a
}

// carryOut does what is wanted, and says what was done.
func (o dataOrder) carryOut(ctx context.Context, c *collect.Collector, root *os.Root) (string, error) {
	switch o.Do {
	case "list":
		return "", nil
	case "collect":
		outcome, err := c.Collect(ctx, o.FEC, o.Name, o.Shrunken)
		return fmt.Sprintf("%s %s: %s\n", o.FEC, o.Name, map[collect.Outcome]string{
			collect.Collected: "collected", collect.Unchanged: "unchanged since the last time", collect.Nothing: "the FEC has none yet",
		}[outcome]), err
	case "restore":
		return o.restore(ctx, c, root)
	}
	return "", fmt.Errorf("unknown order %q", o.Do)
}

func (o dataOrder) restore(ctx context.Context, c *collect.Collector, root *os.Root) (string, error) {
	if o.Snapshot == "" {
		return fmt.Sprintf("%s restores the newest snapshot of %s, from its next slot on\n", o.FEC, o.Name), c.Restore(ctx, o.FEC, o.Name, artifact.Digest{})
	}
	s, err := findSnapshot(root, o.FEC, o.Name, o.Snapshot)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s restores snapshot %.12s of %s, from its next slot on, until: pomona data restore %s %s --newest\n", o.FEC, s.Object, o.Name, o.FEC, o.Name),
		c.Restore(ctx, o.FEC, o.Name, s.Object)
}
