package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// placeLedger notes in a root where its ledger lies. That it can be reached is no condition: what is served needs no ledger.
func placeLedger(site string, conf desired.ServedSite) error {
	if conf.Ledger == nil {
		return reconciler.PlaceLedger(conf.Root, nil)
	}
	if err := outside(conf.Root, conf.Ledger.Postgres); err != nil && !errors.As(err, new(*fs.PathError)) { // what cannot be read yet, whoever connects tells
		return err
	}
	if b, err := os.ReadFile(conf.Ledger.Postgres); err == nil { // else whoever connects says so
		conceal(b)
		if u, err := url.Parse(strings.TrimSpace(string(b))); err == nil {
			password, _ := u.User.Password()
			secrets.Add(password)
		}
	}
	return reconciler.PlaceLedger(conf.Root, &ledger.Postgres{File: conf.Ledger.Postgres, Schema: conf.Ledger.TheSchema(site)})
}
