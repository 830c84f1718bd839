package forge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// MaxRedelivered is how many deliveries Redeliver repeats at once: where there are so many, there may be more.
const MaxRedelivered = 50

const maxAttempts = 3 // of one delivery

// hookEvents are the deliveries that matter.
var hookEvents = []string{"push", "delete", "pull_request", "merge_group"}

// deliveries is the webhook that tells us: the repository's, or the App's.
type deliveries struct {
	list   func(ctx context.Context, cursor string) ([]*github.HookDelivery, *github.Response, error)
	repeat func(ctx context.Context, id int64) error
}

// Redeliver implements Forge. A delivery that came at last is left alone, and so is one that failed too often.
func (g *GitHub) Redeliver(ctx context.Context, since time.Time) (int, error) {
	hook, err := g.hook(ctx)
	if err != nil {
		return 0, err
	}
	repository, err := g.repositoryID(ctx)
	if err != nil {
		return 0, err
	}
	all, err := listDeliveries(ctx, hook, since)
	if err != nil {
		return 0, g.failed(ctx, "list deliveries of webhook", err)
	}
	g.keepRepeated(all)
	missed := slices.DeleteFunc(missedOf(all), func(d *github.HookDelivery) bool {
		return d.GetRepositoryID() != 0 && d.GetRepositoryID() != repository || g.repeatedOften(d)
	})
	n := 0
	var refused error
	for _, d := range missed[:min(len(missed), MaxRedelivered)] {
		g.noteRepeated(d)
		err := g.failed(ctx, "repeat delivery of webhook", hook.repeat(ctx, d.GetID()))
		var wrong *remote.Wrong
		switch {
		case err == nil:
			n++
		case errors.As(err, &wrong) && wrong.Field != "token":
			refused = err // this one: others may be taken
		default:
			return n, err
		}
	}
	return n, refused
}

// keepRepeated forgets deliveries that are not listed any more.
func (g *GitHub) keepRepeated(all []*github.HookDelivery) {
	listed := map[string]bool{}
	for _, d := range all {
		listed[d.GetGUID()] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.repeated, func(guid string, _ int) bool { return !listed[guid] })
}

// repeatedOften says whether a delivery was repeated so often that it is given up: its first attempts may not be listed any more.
func (g *GitHub) repeatedOften(d *github.HookDelivery) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.repeated[d.GetGUID()] >= maxAttempts-1
}

func (g *GitHub) noteRepeated(d *github.HookDelivery) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.repeated == nil {
		g.repeated = map[string]int{}
	}
	g.repeated[d.GetGUID()]++
}

// hook finds our webhook by its address.
func (g *GitHub) hook(ctx context.Context) (deliveries, error) {
	if g.app != nil {
		return g.appHook(), nil
	}
	id, err := g.hookID(ctx)
	if err != nil {
		return deliveries{}, err
	}
	return deliveries{
		list: func(ctx context.Context, cursor string) ([]*github.HookDelivery, *github.Response, error) {
			return g.api.Repositories.ListHookDeliveries(ctx, g.owner, g.name, id, &github.ListCursorOptions{Cursor: cursor, PerPage: pageSize})
		},
		repeat: func(ctx context.Context, delivery int64) error {
			_, _, err := g.api.Repositories.RedeliverHookDelivery(ctx, g.owner, g.name, id, delivery)
			return accepted(err)
		},
	}, nil
}

// hookID is the repository's webhook of our address, or the only one.
func (g *GitHub) hookID(ctx context.Context) (int64, error) {
	var ids []int64
	err := pages(func(page int) ([]*github.Hook, *github.Response, error) {
		return g.api.Repositories.ListHooks(ctx, g.owner, g.name, &github.ListOptions{Page: page, PerPage: pageSize})
	}, func(h *github.Hook) bool {
		if g.options.Hook == "" || strings.TrimSuffix(h.Config.GetURL(), "/") == strings.TrimSuffix(g.options.Hook, "/") {
			ids = append(ids, h.GetID())
		}
		return false
	})
	switch {
	case err != nil:
		return 0, g.failed(ctx, "list webhooks", err)
	case len(ids) == 0:
		return 0, fmt.Errorf("%s has no webhook to us: add one", g.options.Repository)
	case len(ids) > 1:
		return 0, fmt.Errorf("%s has %d webhooks that could be ours: name its address", g.options.Repository, len(ids))
	}
	return ids[0], nil
}

func (g *GitHub) appHook() deliveries {
	return deliveries{
		list: func(ctx context.Context, cursor string) ([]*github.HookDelivery, *github.Response, error) {
			return g.app.Apps.ListHookDeliveries(ctx, &github.ListCursorOptions{Cursor: cursor, PerPage: pageSize})
		},
		repeat: func(ctx context.Context, delivery int64) error {
			_, _, err := g.app.Apps.RedeliverHookDelivery(ctx, delivery)
			return accepted(err)
		},
	}
}

// accepted is no error if GitHub will do it in time.
func accepted(err error) error {
	var later *github.AcceptedError
	if errors.As(err, &later) {
		return nil
	}
	return err
}

// listDeliveries lists deliveries since a time, newest first.
func listDeliveries(ctx context.Context, hook deliveries, since time.Time) ([]*github.HookDelivery, error) {
	var all []*github.HookDelivery
	cursor := ""
	for range maxPages {
		page, res, err := hook.list(ctx, cursor)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			if d.GetDeliveredAt().Before(since) {
				return all, nil
			}
			all = append(all, d)
		}
		if res.Cursor == "" || res.Cursor == cursor {
			return all, nil
		}
		cursor = res.Cursor
	}
	return all, nil // what is older waits for the next call
}

// missedOf are the newest attempts at deliveries that never came, oldest first.
func missedOf(all []*github.HookDelivery) []*github.HookDelivery {
	came, attempts := map[string]bool{}, map[string]int{}
	var newest []*github.HookDelivery
	for _, d := range all {
		guid := d.GetGUID()
		came[guid] = came[guid] || d.GetStatusCode()/100 == 2
		if attempts[guid]++; attempts[guid] == 1 && slices.Contains(hookEvents, d.GetEvent()) {
			newest = append(newest, d)
		}
	}
	newest = slices.DeleteFunc(newest, func(d *github.HookDelivery) bool {
		return came[d.GetGUID()] || attempts[d.GetGUID()] >= maxAttempts || d.GetStatus() == "pending"
	})
	slices.Reverse(newest)
	return newest
}
